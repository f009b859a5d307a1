"""What services under test must not find is what no installation has."""

import re

from tests.support.service_process import ROOT, RUNTIME_ONLY


def test_what_is_kept_from_services_is_not_theirs():
    kept = re.search(r"for name in \((.+)\)", (RUNTIME_ONLY / "sitecustomize.py").read_text())
    assert kept
    installed = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(installed) > 50 and set(re.findall(r"\w+", kept[1])).isdisjoint(installed)

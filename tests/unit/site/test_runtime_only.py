"""What services under test must not find is what no installation has."""

import re
import runpy
import sys
from unittest.mock import patch

from tests.support.service_process import ROOT, RUNTIME_ONLY


def test_what_is_kept_from_services_is_not_theirs():
    with patch.dict(sys.modules):
        kept = runpy.run_path(str(RUNTIME_ONLY / "sitecustomize.py"))["TESTS_ONLY"]
    installed = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert len(installed) > 50 and kept and set(kept).isdisjoint(installed)

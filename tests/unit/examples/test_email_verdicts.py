"""Whether the e-mail sidecar believes a sender: only the verdict of the own mail server counts."""

import importlib
import sys
from collections.abc import Iterator
from email import message_from_string, policy
from types import ModuleType
from typing import Any

import pytest

from tests.support.service import ROOT

OURS = "mx.example.org"


@pytest.fixture(scope="module")
def incoming() -> Iterator[ModuleType]:
    """The module as the sidecar has it: its folder is a program of its own, not a package of ours."""
    folder = str(ROOT / "examples" / "email_sidecar")
    before = set(sys.modules)
    sys.path.insert(0, folder)
    yield importlib.import_module("incoming")
    sys.path.remove(folder)
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folder):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("results", "believed"),
    [
        ([f"{OURS}; spf=fail; dmarc=pass header.from=bank.test"], True),
        ([f"{OURS} 1; dmarc=pass (p=reject) header.from=BANK.test"], True),
        ([f"{OURS}; dmarc=pass"], True),
        ([], False),
        ([OURS], False),
        ([f"{OURS}; none"], False),
        ([f"{OURS}; dmarc=fail header.from=bank.test"], False),
        ([f"{OURS}; dmarc=passed"], False),
        (["mx.evil.test; dmarc=pass"], False),
        (["mx.evil.test; dmarc=fail", f"{OURS}; dmarc=pass"], False),
        ([f"{OURS}; dmarc=pass header.from=evil.test"], False),
        ([f"{OURS}; spf=pass smtp.mailfrom=dmarc=pass@evil.test; dmarc=fail"], False),
        ([f'{OURS}; spf=pass smtp.mailfrom="x;dmarc=pass"@evil.test; dkim=none'], False),
        ([f'{OURS}; spf=pass smtp.mailfrom="x\\";dmarc=pass;y"@evil.test; dkim=none'], False),
        ([f"{OURS}; spf=pass (by (one; dmarc=pass) who)"], False),
        ([f"{OURS}; spf=pass; dmarc=pass; dmarc=fail"], False),
        ([f"({OURS}; dmarc=pass) mx.evil.test"], False),
    ],
)
def test_which_verdicts_are_believed(incoming: Any, results: list[str], believed: bool) -> None:
    headers = "".join(f"Authentication-Results: {result}\n" for result in results)
    message = message_from_string(f"{headers}From: a@bank.test\n\nhello", policy=policy.default)
    assert incoming._is_authentic(message, OURS, "bank.test") is believed

"""What a line of the log says of an exception: all of an error's, one line of a warning's, no secret."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.utils.module_loading import import_string

from kheish_site.settings.logs import logging_config

SECRET = "Bearer abcdefgh12345678"


def logged(monkeypatch: pytest.MonkeyPatch, style: str, level: int, name: str = "a.test") -> str:
    """What the service's handler writes of an exception."""
    monkeypatch.setenv("KHEISH_LOG_FORMAT", style)
    config = logging_config()
    line, filters = config["formatters"]["line"], config["filters"]
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(line.pop("()")(**line))
    for chosen in config["handlers"]["stderr"]["filters"]:
        made = filters[chosen]["()"]
        handler.addFilter((import_string(made) if isinstance(made, str) else made)())
    logger = logging.Logger(name)
    logger.addHandler(handler)
    try:
        raise OSError(f"it is full\n\tsaid {SECRET}")
    except OSError:
        logger.log(level, "no %s", "room", exc_info=True, extra={"action": "try"})
    return stream.getvalue()


@pytest.mark.parametrize("style", ["console", "json"])
def test_an_error_has_its_traceback(monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    text = logged(monkeypatch, style, logging.ERROR)
    assert "Traceback (most recent call last)" in text and "test_logs.py" in text
    assert "OSError: it is full" in text
    assert "abcdefgh" not in text and "[redacted]" in text
    if style == "json":
        (line,) = text.splitlines()
        assert json.loads(line)["exception"].startswith("Traceback")


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_warning_has_one_line(monkeypatch: pytest.MonkeyPatch, style: str) -> None:
    (line,) = logged(monkeypatch, style, logging.WARNING).splitlines()
    assert "OSError: it is full said [redacted]" in line and "no room" in line
    if style == "json":
        said = json.loads(line)
        assert (said["event"], said["action"]) == ("no room", "try")
        assert said["cause"] == "OSError: it is full said [redacted]"


def test_what_django_refuses_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = logged(monkeypatch, "json", logging.ERROR, "django.security.DisallowedHost").splitlines()
    assert json.loads(line)["level"] == "warning" and "exception" not in json.loads(line)


DYING = """
import threading
import django

def fail():
    raise OSError("said %s")

django.setup()
thread = threading.Thread(target=fail, name="doorbell")
thread.start()
thread.join()
"""


def test_what_ends_a_thread_is_masked_too(tmp_path: Path) -> None:
    told = {"DJANGO_SETTINGS_MODULE": "kheish_site.settings", "KHEISH_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", DYING % SECRET],
        cwd=settings.BASE_DIR, env=os.environ | told, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert "a thread died" in done.stderr and "of=doorbell" in done.stderr
    assert "OSError: said [redacted]" in done.stderr and "abcdefgh" not in done.stderr

"""What a line of the log says of an exception: all of an error's, one line of a warning's, no secret."""

import io
import json
import logging

import pytest
from django.utils.module_loading import import_string

from kheish_site.settings.logs import logging_config

SECRET = "Bearer abcdefgh12345678"


def logged(monkeypatch: pytest.MonkeyPatch, style: str, level: int) -> str:
    """What the service's handler writes of an exception."""
    monkeypatch.setenv("KHEISH_LOG_FORMAT", style)
    config = logging_config()
    line, mask = config["formatters"]["line"], config["filters"]["redact"]
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(line.pop("()")(**line))
    handler.addFilter(import_string(mask["()"])())
    logger = logging.Logger("a.test")
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

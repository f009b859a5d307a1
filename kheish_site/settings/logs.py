"""Logging: one line an event on stderr, for people or as JSON, every record through the redaction filter.

An error is followed by its traceback; of what goes with a warning, such as a database that is away, one line
is enough. What Django refuses (a foreign host, too many parameters) is its caller's doing, and so a warning.
"""

import logging
from typing import Any

import structlog

from kheish_site.settings import env

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def logging_config() -> dict[str, Any]:
    """Django's ``LOGGING``. ``extra={...}`` of a call becomes fields of the line."""
    level = env.text("KHEISH_LOG_LEVEL", "INFO", choices=LEVELS)
    style = env.text("KHEISH_LOG_FORMAT", "console", choices=("console", "json"))
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {
            "redact": {"()": "kheish_site.lib.redaction.RedactingFilter"},
            "refusals": {"()": Refusals},
        },
        "formatters": {"line": {"()": structlog.stdlib.ProcessorFormatter, **_processors(style)}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "line",
                "filters": ["refusals", "redact"],
            },
        },
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Access lines and connection chatter say nothing the journal does not say better.
            "daphne": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},
            "celery": {"level": "WARNING" if level == "INFO" else level},
            "django": {"handlers": [], "level": level, "propagate": True},
            # A refused request is the caller's business; it is told in the answer.
            "django.request": {"handlers": [], "level": "ERROR", "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
        },
    }


class Refusals(logging.Filter):
    """Django calls each an error, which anybody can cause as often as they like."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, those as warnings."""
        if record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def _processors(style: str) -> dict[str, Any]:
    shared = [
        structlog.contextvars.merge_contextvars,  # the request id
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _cause,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    json = structlog.processors.JSONRenderer()
    last.append(json if style == "json" else structlog.dev.ConsoleRenderer(colors=False))
    return {"foreign_pre_chain": shared, "processors": last}


def _cause(logger: Any, method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Add what was raised, as the redaction filter has worded and masked it: structlog leaves that out."""
    record: logging.LogRecord = event["_record"]
    if record.exc_text and record.levelno >= logging.ERROR:
        event["exception"] = record.exc_text
    elif record.exc_text:
        lines = record.exc_text.splitlines()
        frames = [number for number, line in enumerate(lines) if line.startswith("  ")]
        said = lines[frames[-1] + 1 :] if frames else lines
        event["cause"] = " ".join(line.strip() for line in said)
    return event

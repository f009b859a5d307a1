"""Typed readers for the environment. A value that cannot be read stops the start with its name."""

import os
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})


def text(name: str, default: str = "", *, choices: Iterable[str] = ()) -> str:
    """A string; blank counts as unset. With ``choices`` anything else is refused."""
    value = os.environ.get(name, "").strip() or default
    allowed = tuple(choices)
    if allowed and value not in allowed:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def flag(name: str, default: bool) -> bool:
    """A boolean written as 1/0, true/false, yes/no or on/off."""
    value = text(name).lower()
    if not value:
        return default
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}")
    return value in TRUE


def integer(name: str, default: int, *, low: int, high: int) -> int:
    """A whole number between ``low`` and ``high``, both included."""
    value = number(name, default, low=low, high=high)
    if value != int(value):
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value}")
    return int(value)


def number(name: str, default: float, *, low: float, high: float) -> float:
    """A number between ``low`` and ``high``, both included."""
    written = text(name, str(default))
    try:
        value = float(written)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {written!r}") from None
    if not low <= value <= high:
        raise ImproperlyConfigured(f"{name} must be between {low} and {high}, not {written}")
    return value


def names(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """A comma-separated list; empty entries are dropped."""
    value = text(name)
    if not value:
        return default
    return tuple(part.strip() for part in value.split(",") if part.strip())


def words(name: str, *, choices: tuple[str, ...]) -> tuple[str, ...]:
    """A comma-separated list of words among ``choices``; anything else is refused."""
    given = names(name)
    unknown = [word for word in given if word not in choices]
    if unknown:
        raise ImproperlyConfigured(f"{name} may hold {', '.join(choices)}, not {unknown[0]!r}")
    return given


def path(name: str, default: Path | None = None) -> Path | None:
    """An absolute path; a relative one counts from the working directory, ``~`` is the home."""
    value = text(name)
    if not value:
        return default
    return Path(value).expanduser().absolute()


def url(name: str, *, schemes: tuple[str, ...]) -> str:
    """A URL with one of ``schemes``, or "". The value may hold a password, so no message repeats it."""
    value = text(name)
    if value and value.partition("://")[0] not in schemes:
        raise ImproperlyConfigured(f"{name} must start with {' or '.join(s + '://' for s in schemes)}")
    try:
        urlsplit(value).port  # noqa: B018 (asking is what may fail)
    except ValueError:
        raise ImproperlyConfigured(
            f"{name} cannot be read: write / ? # @ : and % of its password as %2F %3F %23 %40 %3A and %25"
        ) from None
    return value

"""The one funnel that keeps secrets out of journals, streams, logs and pages.

Two nets: exact values that are known to be secret (slots, secret-looking environment variables,
tokens the process was given) and shapes that only secrets have (bearer headers, provider keys,
private keys, ``password=…`` pairs). The value of a slot is registered when it is stored or used;
another process learns it through ``services.secrets.refresh_redaction``.
"""

import logging
import os
import re
import threading
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

MASK: Final = "[redacted]"
_SHORTEST: Final = 6  # a shorter value would blank ordinary words
_SECRET_MEMBER: Final = re.compile(
    r"(?i)(?:^|[_\-.])(?:token|secret|password|passwd|passphrase|authorization|cookie)$"
    r"|(?:api|access|private|secret|signing|encryption|master)[_\-.]?key$"
)
_SECRET_VARIABLE: Final = re.compile(r"(?i)(?:key|token|secret|password|passwd|passphrase|credentials?|dsn)$")
_SHAPES: Final = (
    (("private key",),  # one without an end was cut off: what cannot be of a key is not hidden behind it
     re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
                r"(?:.*?-----END [A-Z ]*PRIVATE KEY-----|[A-Za-z0-9+/=\s\\:,\-]*)", re.DOTALL)),
    (("bearer", "basic"), re.compile(r"(?i)\b(?:bearer|basic)\s+[A-Za-z0-9+/._~=\-]{8,}")),
    (("sk-", "pk-", "rk-"), re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_\-]{16,}")),
    (("kh_", "ko_"), re.compile(r"\bk[ho]_[A-Za-z0-9_\-]{20,}")),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}")),
    (("github_pat_",), re.compile(r"\bgithub_pat_[A-Za-z0-9_]{20,}")),
    (("xox",), re.compile(r"\bxox[abprs]-[A-Za-z0-9\-]{10,}")),
    (("akia",), re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    (("eyj",), re.compile(r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}")),
    (("://",), re.compile(r"(?<=://)[^/\s:@]{1,64}:[^/\s@]{3,}(?=@)")),
)  # fmt: skip
"""Shapes of secrets, each with what a lower-case text must hold one of: looking for that costs far less."""
_PAIR_HINTS: Final = ("key", "token", "secret", "passw", "authorization")
_PAIR: Final = re.compile(
    # What stands before the word is left out: a run of letters in front would cost its length squared.
    r"(?i)((?:api[_-]?key|token|secret|password|(?<!/etc/)passwd|authorization)[\"']?\s*[:=]\s*[\"']?)"
    r"([^\s\"',;&]{6,})"
)
_SHORT: Final = 40
_MOST_HARMLESS: Final = 4096
"""Short texts that were found harmless are not looked at again: names of members, kinds, states, versions."""
_Known = tuple[re.Pattern[str] | None, set[str]]
"""The known values as one pattern, and short texts that hold none of them."""


class Redactor:
    """Known secret values and the shapes of unknown ones. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, str] = {}
        self._known: _Known = (None, set())

    def register(self, name: str, value: str) -> None:
        """Remember ``value`` as secret under ``name``; text that holds it shows ``[redacted]``."""
        if len(value) < _SHORTEST:
            return
        with self._lock:
            if value in self._values:
                return
            self._values[value] = name
            longest_first = sorted(self._values, key=len, reverse=True)
            self._known = (re.compile("|".join(re.escape(item) for item in longest_first)), set())

    def text(self, text: str) -> str:
        """Return ``text`` with every known or secret-shaped part masked.

        Characters no database or UTF-8 stream can carry (NUL, lone surrogates) are replaced too.
        """
        pattern, harmless = self._known
        if text in harmless:
            return text
        clean = self._masked(text, pattern)
        if clean == text and len(text) <= _SHORT:
            if len(harmless) >= _MOST_HARMLESS:
                harmless.clear()
            harmless.add(text)
        return clean

    def _masked(self, text: str, pattern: re.Pattern[str] | None) -> str:
        text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
        if pattern is not None:
            text = pattern.sub(MASK, text)
        # Unicode folds some letters outside ASCII to ASCII ones: there nothing is ruled out.
        folded = text.lower() if text.isascii() else None
        for hints, shape in _SHAPES:
            if _may_hold(folded, hints):
                text = shape.sub(MASK, text)
        if _may_hold(folded, _PAIR_HINTS):
            text = _PAIR.sub(lambda match: match.group(1) + MASK, text)
        return text

    def begun(self, text: str) -> int:
        """Return how many characters at the end of ``text`` may be the beginning of a known value."""
        with self._lock:
            values = list(self._values)
        return max((_overlap(text, value) for value in values), default=0)

    def value(self, value: Any) -> Any:
        """Return a deep copy of a JSON value with its texts masked; secret-named members whole."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self._member(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def _member(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and value and is_secret_name(name):
            return MASK
        return self.value(value)


def _may_hold(folded: str | None, hints: tuple[str, ...]) -> bool:
    if folded is None:
        return True
    for hint in hints:  # noqa: SIM110  (a generator costs more than what it looks for)
        if hint in folded:
            return True
    return False


def _overlap(text: str, value: str) -> int:
    """Return the length of the longest end of ``text`` that is a proper beginning of ``value``."""
    start = text.find(value[0], max(0, len(text) - len(value) + 1))
    while start >= 0:
        if value.startswith(text[start:]):
            return len(text) - start
        start = text.find(value[0], start + 1)
    return 0


def is_secret_name(name: str) -> bool:
    """Tell whether a header or a JSON member of this name holds a secret by convention."""
    return _is_secret_word(name) if len(name) <= _SHORT else bool(_SECRET_MEMBER.search(name))


@lru_cache(maxsize=1024)
def _is_secret_word(name: str) -> bool:
    return bool(_SECRET_MEMBER.search(name))


_REDACTOR: Final = Redactor()


def register_secret(name: str, value: str) -> None:
    """Register a secret value with the process-wide funnel."""
    _REDACTOR.register(name, value)


def register_environment() -> None:
    """Register the values of all secret-looking environment variables (at process start)."""
    for name, value in os.environ.items():
        if _SECRET_VARIABLE.search(name) and not value.startswith("/"):
            _REDACTOR.register(name, value)


def redact(value: Any) -> Any:
    """Return ``value`` (text or JSON) with secrets masked; the input is not changed."""
    return _REDACTOR.value(value)


def masks(value: Any) -> bool:
    """Tell whether ``redact`` hides anything of ``value``: what it shows is then not all there is."""
    return bool(_REDACTOR.value(value) != value)


def secret_begun(text: str) -> int:
    """Return how many characters at the end of ``text`` may be the beginning of a known secret value.

    For streams, which must not send the first half of a secret before the second half is there.
    """
    return _REDACTOR.begun(text)


class RedactingFilter(logging.Filter):
    """Mask secrets in a finished log line, arguments and traceback included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite ``record`` in place; never drops it."""
        record.msg = _REDACTOR.text(record.getMessage())
        record.args = ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = _REDACTOR.text(record.exc_text)
            record.exc_info = None
        return True

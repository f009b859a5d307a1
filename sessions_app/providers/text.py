"""Text that every store and every wire accepts."""

import math
from typing import Any


class TextJoiner:
    """Joins text whose surrogate pairs may be cut between two chunks."""

    def __init__(self) -> None:
        self._half = ""

    def add(self, text: str) -> str:
        """What can be shown so far: what was held back, and ``text`` without a trailing half character."""
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return clean(text)

    def rest(self) -> str:
        """What is left at the end."""
        return clean(self._half)


def clean(text: str) -> str:
    """``text`` with surrogates paired or replaced, and without NUL, which PostgreSQL refuses."""
    if not text.isascii():
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text.replace("\0", "\ufffd")


def clean_json(value: Any) -> Any:
    """A JSON value with every text inside it cleaned, and null for numbers that JSON does not have."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {clean(key): clean_json(item) for key, item in value.items()}
    return [clean_json(item) for item in value] if isinstance(value, list) else value

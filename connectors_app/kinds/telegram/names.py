"""The names that rows and code of this kind use."""

import re
from typing import Any, Final

WEBHOOK: Final = "webhook"
POLLING: Final = "polling"
_CHAT: Final = re.compile(r"-?[1-9][0-9]{0,17}|@[A-Za-z][A-Za-z0-9_]{3,63}", re.ASCII)


def chat_name(value: Any) -> str:
    """Return a chat in our spelling: its number, or ``@name`` in lower case. Raises ValueError."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _CHAT.fullmatch(text):
        raise ValueError("a chat is a number or @ and the name of a public group or channel")
    return text.lower()

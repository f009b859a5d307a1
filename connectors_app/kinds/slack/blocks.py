"""Block Kit for messages that ask: the text, then the buttons."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from connectors_app.kinds.slack import mrkdwn
from connectors_app.services.contracts import Button
from kheish_site.lib.visible import shortened

ACTION_PREFIX: Final = "kheish:"
LONGEST_SECTION: Final = 3000
_LONGEST_LABEL: Final = 75
_LONGEST_CONTEXT: Final = 2000
_MOST_IN_A_ROW: Final = 25
_STYLES: Final = frozenset({"primary", "danger"})
_KEPT: Final = frozenset({"section", "context", "divider", "header"})
_MOST_BLOCKS: Final = 50


def asking(text: str, rows: Sequence[Sequence[Button]], *, literal: bool) -> list[dict[str, Any]]:
    """Return the blocks of a message: ``text`` (escaped, at most one section long) and its buttons.

    Unless it is ``literal``, the text is mrkdwn.
    """
    section = {"type": "section", "text": _text(text, literal=literal)}
    found: list[dict[str, Any]] = [section] if text.strip() else []
    number = 0
    for row in rows:
        for start in range(0, len(row), _MOST_IN_A_ROW):
            elements = []
            for button in row[start : start + _MOST_IN_A_ROW]:
                elements.append(_button(button, number))
                number += 1
            found.append({"type": "actions", "elements": elements})
    return found


def _text(text: str, *, literal: bool) -> dict[str, Any]:
    return (
        {"type": "plain_text", "text": text, "emoji": False} if literal else {"type": "mrkdwn", "text": text}
    )


def _button(button: Button, number: int) -> dict[str, Any]:
    found = {
        "type": "button",
        "text": _text(shortened(button.label, _LONGEST_LABEL) or "?", literal=True),
        "action_id": f"{ACTION_PREFIX}{number}",
        "value": button.data,
    }
    return {**found, "style": button.style} if button.style in _STYLES else found


def answered(blocks: Any, outcome: str) -> list[dict[str, Any]]:
    """Return the blocks of a decided message: without buttons, with the outcome."""
    given = blocks if isinstance(blocks, list) else []
    kept = [block for block in given if isinstance(block, Mapping) and block.get("type") in _KEPT]
    text = mrkdwn.split(mrkdwn.escaped(outcome), _LONGEST_CONTEXT)[0]
    context = {"type": "context", "elements": [_text(text, literal=True)]}
    return [*(dict(block) for block in kept[: _MOST_BLOCKS - 1]), context]

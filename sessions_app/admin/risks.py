"""How risky a call is: what a crash in the middle of it would leave behind says it best."""

from collections.abc import Mapping
from typing import Final, Literal

from sessions_app.models import ToolCall

Risk = Literal["low", "medium", "high"]
_RISKS: Final[Mapping[str, Risk]] = {
    "read": "low",
    "idempotent": "low",
    "probeable": "medium",
    "opaque": "high",
}


def risk_of(call: ToolCall) -> Risk:
    """Return the risk of a call by the effect class of its tool; what nobody knows is high."""
    return _RISKS.get(call.effect, "high")

"""The shape of a script file, as a JSON schema: what ``scripted`` can be told to say and to suffer.

Texts, also those inside a call's arguments, may hold ``{{ input }}`` (what the user said),
``{{ images }}`` (those that came with it), ``{{ last_result }}`` and ``{{ result.TOOL }}`` (what a tool
returned since). Answer number n since the user's input plays turn n; ``either`` offers alternatives, of
which the first whose ``when`` fits the last tool result is played. Times are in the unit of their name;
``contains`` ignores case.
"""

from typing import Any

FAULT_KINDS = (
    "overflow",
    "rate_limited",
    "quota",
    "auth",
    "invalid",
    "overloaded",
    "transport",
    "unknown",
    "stall",
    "malformed_arguments",
)

_MILLISECONDS = {"type": "number", "minimum": 0, "maximum": 3_600_000}
_SECONDS = {"type": "number", "minimum": 0, "maximum": 86_400}
_COUNT = {"type": "integer", "minimum": 0}


def _object(properties: dict[str, Any], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_FAULT = _object(
    {
        "kind": {"enum": list(FAULT_KINDS)},
        "message": {"type": "string"},
        "retry_after_seconds": _SECONDS,
        # The first so many attempts fail; null: all of them. Counted by the request's attempt number.
        "times": {"type": ["integer", "null"], "minimum": 1},
        # So many words are streamed before the failure.
        "after_chunks": _COUNT,
        # How long a stall keeps silent before it becomes a transport failure.
        "stall_seconds": _SECONDS,
    },
    required=("kind",),
)
_CALL = _object({"name": {"type": "string"}, "arguments": {"type": "object"}}, required=("name",))
_TURN: dict[str, Any] = _object(
    {
        "when": _object(
            {
                "result_contains": {"type": "string"},
                "result_matches": {"type": "string"},
                "result_is_error": {"type": "boolean"},
            }
        ),
        "text": {"type": "string"},
        "reasoning": {"type": "string"},
        "tool_calls": {
            "type": "array",
            "maxItems": 64,
            "items": _CALL,
        },
        "delay_ms": _MILLISECONDS,
        "chunk_delay_ms": _MILLISECONDS,
        "fault": _FAULT,
        "usage": _object({"input": _COUNT, "output": _COUNT}, required=("input", "output")),
        "finish_reason": {"enum": ["stop", "length", "content_filter"]},
    }
)
_TURNS = {
    "type": "array",
    "minItems": 1,
    "maxItems": 1000,
    "items": {
        "if": {"type": "object", "required": ["either"]},
        "then": _object({"either": {"type": "array", "minItems": 1, "items": _TURN}}),
        "else": _TURN,
    },
}
_MATCH = _object({"contains": {"type": "string"}, "matches": {"type": "string"}})

SCRIPT: dict[str, Any] = _object(
    {
        "description": {"type": "string"},
        "delay_ms": _MILLISECONDS,
        "chunk_delay_ms": _MILLISECONDS,
        # The first case whose match fits the user's input; then ``turns``.
        "cases": {
            "type": "array",
            "items": _object(
                {"match": _MATCH, "turns": _TURNS, "repeat": {"type": "boolean"}}, required=("match", "turns")
            ),
        },
        "turns": _TURNS,
        # Start over after the last turn instead of ending with "Done.".
        "repeat": {"type": "boolean"},
    },
    required=("turns",),
)

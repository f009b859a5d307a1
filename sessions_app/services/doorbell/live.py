"""Token deltas: what a model is saying right now. Never the only copy of anything."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """A piece of the text of one step's attempt; ``index`` counts the pieces of that attempt from 0."""

    session_pk: int
    run_pk: int
    run_id: str
    session_id: str
    step: int
    attempt: int
    index: int
    text: str

    def encode(self) -> bytes:
        """Return the message that travels between processes."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def decode(message: bytes) -> Delta | None:
    """Return the delta of ``message``, or None for anything else (another version's message)."""
    try:
        return Delta(**json.loads(message))
    except (ValueError, TypeError):
        return None

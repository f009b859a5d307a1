"""The effect ledger: planned, decided, started, settled. Its edges, and what a crash means.

    planned ─▶ awaiting_approval ─▶ planned (approved) | denied
       └─▶ started ─▶ succeeded | failed | unknown ─▶ reconciled | planned (run it)

``started`` commits before the call leaves the process; results commit with their journal entry.
"""

from collections.abc import Mapping
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.canonical import digest, sha256_hex
from kheish_site.lib.prepared import update
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import pinned, require_transaction
from sessions_app.models import Run, StoredResult, ToolCall, ToolCallState
from sessions_app.services import journal
from sessions_app.services.writes import Advance, Entry, IllegalEffect
from sessions_app.tools.base import ToolResult

STATE = ToolCallState
PROMPT_LIMIT: Final = 30_000
"""Characters of one tool result that a prompt shows; the whole is stored and referenced."""

EDGES: Final[Mapping[ToolCallState, frozenset[ToolCallState]]] = {
    STATE.PLANNED: frozenset({STATE.AWAITING_APPROVAL, STATE.STARTED, STATE.FAILED, STATE.DENIED}),
    STATE.AWAITING_APPROVAL: frozenset({STATE.PLANNED, STATE.SUCCEEDED, STATE.DENIED}),
    STATE.STARTED: frozenset({STATE.STARTED, STATE.SUCCEEDED, STATE.FAILED, STATE.UNKNOWN}),
    STATE.UNKNOWN: frozenset({STATE.RECONCILED, STATE.PLANNED}),
    STATE.SUCCEEDED: frozenset(),
    STATE.FAILED: frozenset(),
    STATE.DENIED: frozenset(),
    STATE.RECONCILED: frozenset(),
}

_KINDS: Final[Mapping[ToolCallState, str]] = {
    STATE.SUCCEEDED: "tool.returned",
    STATE.FAILED: "tool.returned",
    STATE.DENIED: "tool.denied",
    STATE.RECONCILED: "tool.reconciled",
}


def call_digest(tool_name: str, arguments: Mapping[str, Any]) -> str:
    """Return the digest that names an exact call: what an approval binds to."""
    return digest({"tool": tool_name, "arguments": dict(arguments)})


def idempotency_key(run_id: str, step: int, call_id: str, arguments: Mapping[str, Any]) -> str:
    """Return the key a target may use to recognise a repeat: digest of run, step, call and arguments."""
    return digest({"run": run_id, "step": step, "call": call_id, "arguments": dict(arguments)})


def advance(call: ToolCall, to: ToolCallState, **fields: Any) -> None:
    """Move one call along one edge, guarded by the state it was read in. Needs an open transaction.

    Raises: IllegalEffect when there is no such edge or somebody moved it first.
    """
    _keep(_advanced(call, to, **fields))


def _keep(advance: Advance) -> None:
    require_transaction()
    if not update(advance.call, advance.changes, where={"state": advance.was}):
        raise IllegalEffect(f"the call is no longer {advance.was}", call_id=advance.call.call_id)


def settle(call: ToolCall, to: ToolCallState, result: ToolResult) -> None:
    """Record what came of ``call``. Needs an open transaction that also appends ``settled_entry``."""
    _keep(settled(call, to, result))


def started(call: ToolCall, prepared: Mapping[str, Any]) -> Advance:
    """Begin another attempt of ``call``, with what a later probe needs; for ``writes.commit``."""
    return _advanced(
        call,
        ToolCallState.STARTED,
        started_at=clock.now(),
        attempt=call.attempt + 1,
        prepared=prepared or call.prepared,
    )


def may_be_large(result: ToolResult) -> bool:
    """Tell whether ``settled`` may store the result in a row of its own: redaction makes few texts longer."""
    return len(result.content) > PROMPT_LIMIT // 8


def settled(call: ToolCall, to: ToolCallState, result: ToolResult) -> Advance:
    """Bring the instance to its end, so that its entry can be made before ``writes.commit`` writes its row.

    A result over the prompt limit is stored once under its digest; the row keeps what prompts show. That
    needs an open transaction, with the session's row locked in it.
    """
    content = redact(result.content)
    stored = _store(content) if len(content) > PROMPT_LIMIT else None
    return _advanced(
        call,
        to,
        content=_excerpt(content, stored) if stored else content,
        stored=stored,
        is_error=result.is_error,
        error_code=result.error_code[:60],
        data=redact(result.data),
        finished_at=clock.now(),
    )


def _advanced(call: ToolCall, to: ToolCallState, **fields: Any) -> Advance:
    was = ToolCallState(call.state)
    if to not in EDGES[was]:
        raise IllegalEffect(f"a {was} call cannot become {to}", call_id=call.call_id)
    changes = {"state": to, **fields}
    for name, value in changes.items():
        setattr(call, name, value)
    return Advance(call=call, was=was, changes=changes)


def settled_entry(session_id: str, run: Run, call: ToolCall) -> Entry:
    """Return the entry of a call that ``settle`` has settled; folding reads ``content`` from it."""
    payload: dict[str, Any] = {
        "call_id": call.call_id,
        "provider_call_id": call.provider_call_id,
        "tool_name": call.tool_name,
        "state": str(call.state),
        "content": call.content,
        "is_error": call.is_error,
    }
    if call.error_code:
        payload["error_code"] = call.error_code
    if call.data:
        payload["data"] = call.data
    if call.stored is not None:
        payload |= {"truncated": True, "sha256": call.stored.sha256, "size_bytes": call.stored.size_bytes}
    return journal.entry(session_id, _KINDS[ToolCallState(call.state)], payload, run=run)


def unknown_entry(session_id: str, run: Run, call: ToolCall, **more: str) -> Entry:
    """Return the entry of a call that had begun and of which nobody can say what came of it."""
    payload = {"call_id": call.call_id, "tool_name": call.tool_name, "attempt": call.attempt, **more}
    return journal.entry(session_id, "tool.unknown", payload, run=run)


def _store(content: str) -> StoredResult:
    """Return the row of ``content``, pinned until the commit: retention deletes those that no call names."""
    encoded = content.encode()
    while True:
        stored, _ = StoredResult.objects.get_or_create(
            sha256=sha256_hex(encoded), defaults={"content": content, "size_bytes": len(encoded)}
        )
        if pinned(stored):  # else it was deleted between the two
            return stored


def _excerpt(content: str, stored: StoredResult) -> str:
    half = PROMPT_LIMIT // 2
    note = f"[… {stored.size_bytes} bytes in all, sha256 {stored.sha256}; the middle is left out …]"
    return f"{content[:half]}\n{note}\n{content[-half:]}"

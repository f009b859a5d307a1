"""Executing calls: intent committed before the effect, outcome after it, both under the lease."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.transactions import AWAY, release_connection, undone_with, write_if
from sessions_app.engine import settle
from sessions_app.engine.turn import Turn
from sessions_app.models import Session, ToolCall, ToolCallState
from sessions_app.services import (
    effects,
    leases,
    output_files,
    outward,
    ports,
    run_state,
    sessions,
    writes,
)
from sessions_app.services.output_files import Outgoing
from sessions_app.services.shell_tasks import SessionTasks
from sessions_app.services.writes import (
    Advance,
    Change,
    Entry,
    IllegalEffect,
    LeaseLost,
    StaleRun,
    StepStart,
)
from sessions_app.tools import registry
from sessions_app.tools.base import OutputFile, Probeable, Tool, ToolContext, ToolFailure, ToolResult

logger = logging.getLogger(__name__)
T = TypeVar("T")
MAX_PARALLEL: Final = 16
_AWAY_SECONDS: Final = 0.2
NOT_THE_TOOLS: Final = (DatabaseError, LeaseLost, StaleRun)
"""Raised through a tool's code without being its failure: the database is away, or the lease is lost."""
BROKEN: Final = "the tool broke; what it had done until then is done. Check before you repeat the call."


class Kept:
    """What a call asks the runtime to keep beside its result; it commits with the result or not at all."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.outputs: list[tuple[dict[str, Any], list[Outgoing]]] = []
        self.todos: list[dict[str, Any]] | None = None
        self.max_file_bytes: int = settings.KHEISH.max_asset_bytes

    def emit(
        self, content: str, parts: list[dict[str, Any]], files: Sequence[OutputFile] = ()
    ) -> list[dict[str, Any]]:
        """Record one output, its files opened and not yet stored (``OutputSink``)."""
        try:
            opened = output_files.prepare(self.session_id, files)
        except output_files.FileRefused as refused:
            raise ToolFailure(refused.error_code, refused.detail) from refused
        self.outputs.append(({"source_kind": "emit_output", "content": content, "parts": parts}, opened))
        return [file.view for file in opened]

    def write(self, todos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace the todo list (``TodoStore``)."""
        self.todos = todos
        return todos


Begin = Callable[[Sequence[Advance]], None]
"""Commits that calls have started, before any effect of theirs."""


def group(turn: Turn, calls: list[ToolCall], *, begin: Begin, opens_next: bool = False) -> None:
    """Run calls that may go at once; the commit of the last ones' results opens the next step.

    Two commits for the group: ``begin``'s before any effect, results after all.
    """
    prepared = [(call, *_prepare(turn, call)) for call in calls]
    held_at = time.monotonic()
    begin([effects.started(call, ready) for call, ready, refusal in prepared if refusal is None])
    crashpoint("tool.started")
    if time.monotonic() - held_at > turn.lease_seconds / 2:
        leases.check(turn.lease)  # frozen since: nothing may leave a process that lost the run
    release_connection()
    results = _run_all([_job(turn, call, refusal) for call, _, refusal in prepared])
    crashpoint("tool.returned")
    _commit_results(
        turn,
        [(call, *result) for (call, _, _), result in zip(prepared, results, strict=True)],
        opens_next=opens_next,
    )
    crashpoint("tool.settled")


def open_step(turn: Turn) -> None:
    """Start the next step when no call of the batch was left to run."""
    _commit_results(turn, [], opens_next=True)


def context_for(turn: Turn, call: ToolCall, kept: Kept) -> ToolContext:
    """Return what the tool is given for ``call``. Raises: ToolFailure (no folder can be made)."""
    config = settings.KHEISH
    try:
        workspace = sessions.workspace(turn.run.session)
    except OSError as error:
        raise ToolFailure("workspace_unavailable", f"the workspace: {error.strerror}") from error
    return ToolContext(
        session_id=turn.session_id,
        run_id=turn.run.run_id,
        call_id=call.call_id,
        idempotency_key=call.idempotency_key,
        workspace=workspace,
        cancelled=turn.hold.stop,
        tasks=SessionTasks(turn.run, call, lease=turn.lease),
        outputs=kept,
        todos=kept,
        env_allowlist=tuple(config.bash_env_allowlist),
        allow_private_addresses=config.web_fetch_allow_private,
    )


def _prepare(turn: Turn, call: ToolCall) -> tuple[dict[str, Any], ToolResult | None]:
    """Read what a later probe needs, or say why the call may not start."""
    tool = registry.get(call.tool_name)
    refusal = _gone() if tool is None else _not_the_approved_call(call)
    if refusal is not None or not isinstance(tool, Probeable):
        return {}, refusal
    kept = Kept(turn.session_id)
    ready = _guarded(call, lambda: tool.prepare(call.arguments, context_for(turn, call, kept)))
    return ({}, ready) if isinstance(ready, ToolResult) else (ready, None)


def _not_the_approved_call(call: ToolCall) -> ToolResult | None:
    """Refuse a call that is not, to the byte, the one that was planned or approved."""
    exact = effects.call_digest(call.tool_name, call.arguments) == call.digest
    asked = call.permission.get("decision") == "ask"
    if exact and (not asked or call.permission.get("approved_digest") == call.digest):
        return None
    return ToolResult(
        content="not run: the call differs from the one that was approved",
        is_error=True,
        error_code="approval_digest_mismatch",
    )


def commit_started(turn: Turn, advances: Sequence[Advance]) -> None:
    """Commit that calls which were planned before have started."""
    if not advances:
        return
    leaves = any(outward.is_outward(advance.call) for advance in advances)
    with write_if(leaves):
        _commit(turn, tuple(started_entry(turn, advance.call) for advance in advances), advances=advances)
        if leaves:
            outward.started(turn.run, advances)  # the session before the ledger


def started_entry(turn: Turn, call: ToolCall) -> Entry:
    """Return the entry of a call that ``effects.started`` has begun."""
    payload = {
        "call_id": call.call_id,
        "tool_name": call.tool_name,
        "attempt": call.attempt,
        "idempotency_key": call.idempotency_key,
    }
    return turn.entry("tool.started", payload)


Job = Callable[[], tuple[ToolResult, Kept]]


def _job(turn: Turn, call: ToolCall, refusal: ToolResult | None) -> Job:
    kept = Kept(turn.session_id)
    tool = registry.get(call.tool_name)
    if refusal is not None or tool is None:
        return lambda: (refusal or _gone(), kept)
    return lambda: (_run(turn, tool, call, kept), kept)


def _gone() -> ToolResult:
    return ToolResult(content="the tool no longer exists", is_error=True, error_code="tool_unknown")


def _run(turn: Turn, tool: Tool, call: ToolCall, kept: Kept) -> ToolResult:
    return _guarded(call, lambda: tool.run(call.arguments, context_for(turn, call, kept)))


def _guarded(call: ToolCall, act: Callable[[], T]) -> T | ToolResult:
    """Return what a tool's own code returns, or the error result when it failed: the edge of foreign code."""
    try:
        return act()
    except ToolFailure as failure:
        return failure.as_result()
    except NOT_THE_TOOLS:
        raise
    except Exception:  # the edge: a tool's own code, whatever it raises
        logger.exception("a tool broke", extra={"action": "tool", "call": call.call_id})
        return ToolResult(content=BROKEN, is_error=True, error_code="tool_broken")


def _run_all(jobs: list[Job]) -> list[tuple[ToolResult, Kept]]:
    if len(jobs) == 1:
        return [jobs[0]()]
    with ThreadPoolExecutor(max_workers=len(jobs), thread_name_prefix="tool") as pool:
        return list(pool.map(_closing, jobs))


def _closing(job: Job) -> tuple[ToolResult, Kept]:
    """Run a job in a pool thread, whose database connection nobody else would close."""
    try:
        return job()
    finally:
        connection.close()


def _commit_results(
    turn: Turn, results: list[tuple[ToolCall, ToolResult, Kept]], *, opens_next: bool
) -> None:
    """Commit what came of calls, and open the next step with it if there are no more.

    While the database is away it is tried again for as long as the lease may last: nobody else knows what a
    tool has returned. A commit whose answer was lost may have happened; the calls have then moved on, and the
    outage is raised, so that the run goes on from its rows.
    """
    until = time.monotonic() + turn.lease_seconds
    away: Exception | None = None
    while True:
        try:
            with undone_with(turn.run, *(call for call, _, _ in results)):
                _settle(turn, results, opens_next=opens_next)
            return
        except AWAY as error:
            if time.monotonic() > until or turn.hold.lost:
                raise
            logger.warning("a result waits", exc_info=True, extra={"action": "tool", "run": turn.run.run_id})
            away = error
        except (IllegalEffect, StaleRun):
            if away is None:
                raise
            raise away from None
        connection.close()
        time.sleep(_AWAY_SECONDS)


def _settle(turn: Turn, results: list[tuple[ToolCall, ToolResult, Kept]], *, opens_next: bool) -> None:
    run = turn.run
    began = [call for call, _, _ in results if call.state == ToolCallState.STARTED]
    more = any(map(_leaves_more, results)) or any(map(outward.is_outward, began))
    with write_if(more):
        if more:
            leases.check(turn.lease)  # the session before files, stored results and the ledger
            output_files.hold(file for _, _, kept in results for _, files in kept.outputs for file in files)
        entries: list[Entry] = []
        said: list[tuple[str, Any]] = []
        settled = []
        for call, result, kept in results:
            state = ToolCallState.FAILED if result.is_error else ToolCallState.SUCCEEDED
            settled.append(effects.settled(call, state, result))
            entries.append(effects.settled_entry(turn.session_id, run, call))
            entries += _keep(turn, call, kept, said)
        if more:
            outward.finished(run, began)
        opening = settle.step_start(run, number=run.step + 1) if opens_next else None
        fields: dict[str, Any] = {"step": opening.number if opening else run.step}
        if said:
            fields["outputs"] = run.outputs
        _commit(turn, tuple(entries), opening, fields, settled)
        for key, output in said:
            ports.output_emitted(run, output, key)


def _leaves_more(outcome: tuple[ToolCall, ToolResult, Kept]) -> bool:
    """Tell whether a call leaves rows beside its own: files, todos, or a result of its own row."""
    _, result, kept = outcome
    return bool(kept.outputs) or kept.todos is not None or effects.may_be_large(result)


def _keep(turn: Turn, call: ToolCall, kept: Kept, said: list[tuple[str, Any]]) -> list[Entry]:
    """Return the entries of what a call leaves behind; ``said`` gains its outputs, each with its key."""
    entries = []
    for number, (said_now, files) in enumerate(kept.outputs):
        output = said_now | output_files.keep(turn.run, files, principal=f"run:{turn.run.run_id}")
        entry = turn.entry("output.emitted", output)
        turn.run.outputs = [*turn.run.outputs, entry.decoded()]
        said.append((f"{call.call_id}:{number}", entry.decoded()))
        entries.append(entry)
    if kept.todos is not None:
        entry = turn.entry("todo.written", {"todos": kept.todos})
        Session.objects.filter(pk=turn.run.session_id).update(todos=entry.decoded()["todos"])
        entries.append(entry)
    return entries


def _commit(
    turn: Turn,
    entries: tuple[Entry, ...],
    opening: StepStart | None = None,
    fields: Mapping[str, Any] | None = None,
    advances: Sequence[Advance] = (),
) -> None:
    writes.commit(
        Change(
            session_pk=turn.run.session_id,
            entries=entries,
            lease=turn.lease,
            lease_seconds=turn.lease_seconds,
            step_start=opening,
            move=run_state.staying(turn.run, fields) if fields else None,
            advances=tuple(advances),
        )
    )

"""A run as one JSON document, written piece by piece, that anybody can check without us.

It holds the run's own rows whole, and of its session as much as both chains need: of every other journal
entry the digest alone, and the signed external actions of the session with their checkpoint, since a chain
can only be checked as a whole. ``audit verify`` reads it; ``docs/operations.md`` says what that proves.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from heapq import merge
from typing import Any, Final

from django.db.models import QuerySet

from kheish_site import __version__
from kheish_site.lib import clock
from kheish_site.lib.redaction import redact
from sessions_app.models import (
    Approval,
    ExternalAction,
    JournalEntry,
    OperatorDecision,
    Right,
    Run,
    ShellTask,
    Step,
    ToolCall,
    UserQuestion,
)
from sessions_app.services import access, audit, events, external_actions, ports, projections, runs
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import View, known, time

TYPE: Final = "kheish.run-export"
VERSION: Final = 1
_BATCH: Final = 500
_DIGEST_RULE: Final = (
    "digest: SHA-256 of the canonical JSON (RFC 8785) of session_id, run_id, kind, version, at, payload; "
    "hash: SHA-256 of PREVIOUS:SEQ:DIGEST, the first PREVIOUS being 64 zeros"
)


def export(run_id: str, *, principal: Principal, unredacted: bool = False, reason: str = "") -> Iterator[str]:
    """Return the pieces of the document. With ``unredacted`` it also holds exact arguments and results.

    Everything that can be refused is refused before the first piece. An unredacted export is recorded in the
    audit log with ``reason``. A fixed number of queries. Raises: RunMissing, Forbidden(right_missing).
    """
    run = runs.get(run_id)
    if unredacted:
        access.require_right(principal, Right.VIEW_UNREDACTED)
        audit.record("run.exported_unredacted", "run", run_id, reason=reason, principal=principal)
    return _pieces(run, principal, unredacted)


def _pieces(run: Run, principal: Principal, unredacted: bool) -> Iterator[str]:
    session = run.session
    yield "{"
    yield _member("type", TYPE) + ","
    yield _member("version", VERSION) + ","
    yield _member("made_by", f"kheish {__version__}") + ","
    yield _member("exported_at", clock.rfc3339(clock.now())) + ","
    yield _member("exported_by", principal.name) + ","
    yield _member("redacted", not unredacted) + ","
    yield _member("run", projections.run_view(run)) + ","
    head = {"rule": _DIGEST_RULE, "count": session.next_seq - 1, "head": session.last_hash}
    yield '"journal":{' + "".join(f"{_member(name, value)}," for name, value in head.items())
    yield from _array("entries", _entries(run))
    yield "},"
    for name, rows in _parts(run, unredacted):
        yield from _array(name, rows)
        yield ","
    checkpoint = external_actions.checkpoint(external_actions.bucket_of(session.session_id))
    yield '"external_actions":{'
    yield from _array("records", _records(checkpoint))
    yield "," + _member("checkpoint", checkpoint) + "}"
    yield "}\n"


def _member(name: str, value: Any) -> str:
    return f"{json.dumps(name)}:{json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"


def _array(name: str, items: Iterable[Any]) -> Iterator[str]:
    """Yield a member whose value is an array, an item a line."""
    yield f"{json.dumps(name)}:["
    before = "\n"
    for item in items:
        yield before + json.dumps(item, ensure_ascii=False, separators=(",", ":"))
        before = ",\n"
    yield "]"


def _entries(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the session's journal in order: the run's own entries whole, of all others number and digest."""
    session_id, until = run.session.session_id, run.session.next_seq
    rows = JournalEntry.objects.filter(session=run.session_id, seq__lt=until).order_by("seq")
    own = rows.filter(run_id=run.pk).iterator(chunk_size=_BATCH)
    others = rows.exclude(run_id=run.pk).values_list("seq", "digest").iterator(chunk_size=_BATCH)
    whole = ((row.seq, events.as_event(row, session_id, run.run_id)) for row in own)
    links = ((seq, {"seq": seq, "digest": digest}) for seq, digest in others)
    for _, item in merge(whole, links, key=lambda pair: pair[0]):
        yield item


def _records(checkpoint: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = ExternalAction.objects.filter(bucket=checkpoint["bucket"], seq__lte=checkpoint["count"])
    for row in rows.order_by("seq").iterator(chunk_size=_BATCH):
        yield external_actions.document(row)


def _parts(run: Run, unredacted: bool) -> Iterator[tuple[str, Iterable[Mapping[str, Any]]]]:
    """Yield what belongs to the run, table by table, each read only when it is written."""
    yield "steps", map(_step, _all(Step.objects.filter(run=run).order_by("number")))
    calls = (
        ToolCall.objects.filter(run=run).select_related("step", "stored").order_by("step__number", "index")
    )
    yield "tool_calls", (_call(row, unredacted) for row in _all(calls))
    approvals = projections.approval_rows().filter(run=run).order_by("pk")
    yield "approvals", (_approval(row, unredacted) for row in _all(approvals))
    questions: QuerySet[UserQuestion] = projections.question_rows().filter(run=run).order_by("pk")
    yield "questions", map(projections.question_view, _all(questions))
    decisions: QuerySet[OperatorDecision] = projections.decision_rows().filter(run=run).order_by("pk")
    yield "decisions", map(projections.decision_view, _all(decisions))
    yield "tasks", map(_task, _all(ShellTask.objects.filter(run=run).order_by("pk")))
    yield from ports.run_parts(run)


def _all(rows: QuerySet[Any]) -> Iterator[Any]:
    return rows.iterator(chunk_size=_BATCH)


def _step(row: Step) -> View:
    return {
        "number": row.number,
        "attempt": row.attempt,
        "status": row.status,
        "route_id": row.route_id,
        "model": row.model,
        "usage": {"input_tokens": row.input_tokens, "output_tokens": row.output_tokens},
        "usage_estimated": row.usage_estimated,
        "latency_ms": row.latency_ms,
        "provider_request_id": row.provider_request_id,
        "finish_reason": row.finish_reason,
        "error": redact(row.error),
        "started_at": time(row.started_at),
        **known(finished_at=time(row.finished_at)),
    }


def _call(row: ToolCall, unredacted: bool) -> View:
    shown = _exact if unredacted else redact
    content = row.stored.content if row.stored is not None else row.content
    return {
        "call_id": row.call_id,
        "step": row.step.number,
        "index": row.index,
        "tool_name": row.tool_name,
        "effect": row.effect,
        "state": row.state,
        "attempt": row.attempt,
        "input": shown(row.arguments),
        "digest": row.digest,
        "idempotency_key": row.idempotency_key,
        "permission": redact(row.permission),
        "result": shown(content),
        "is_error": row.is_error,
        "error_code": row.error_code,
        "created_at": time(row.created_at),
        **known(started_at=time(row.started_at), finished_at=time(row.finished_at)),
    }


def _approval(row: Approval, unredacted: bool) -> View:
    view = projections.approval_view(row)
    return view | {"input": row.arguments} if unredacted else view


def _exact(value: Any) -> Any:
    return value


def _task(row: ShellTask) -> View:
    return {
        "task_id": row.task_id,
        "command": redact(row.command),
        "background": row.background,
        "status": row.status,
        "exit_code": row.exit_code,
        "metadata": redact(row.metadata),
        "output_total_bytes": row.output_total_bytes,
        "started_at": time(row.started_at),
        **known(finished_at=time(row.finished_at)),
    }

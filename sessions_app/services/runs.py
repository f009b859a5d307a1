"""Runs: accepted, found, stopped. What happens in between is the engine's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.conf import settings
from django.db.models import Q, QuerySet

from kheish_site.lib import clock
from kheish_site.lib.errors import Conflict, NotFound
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write
from kheish_site.lib.visible import shortened
from sessions_app.models import ACTIVE, LIVE, TERMINAL, Run, RunStatus, Session
from sessions_app.services import (
    assets,
    inputs,
    journal,
    ports,
    reply_targets,
    routing,
    run_state,
    runtime_settings,
    waiting,
    writes,
)
from sessions_app.services import sessions as session_service
from sessions_app.services.inputs import Kept
from sessions_app.services.writes import Change

_PREVIEW: Final = 160
_DAEMON_METADATA: Final = "daemon_"
_PROVENANCE: Final = frozenset(
    {
        "connector", "connector_ingress_key", "materialization_id", "observation_ids", "observation_sources",
        "schedule_id", "scheduled_for",
    }
)  # fmt: skip
"""Where a run came from, as the runtime says it of connectors, captures and schedules."""
_OWN_PLUGINS: Final = frozenset({"daemon", "scheduler", "observation"})
"""Sources whose explicit reply targets stay with their run."""


class RunMissing(NotFound):
    """No such run."""

    code, domain = "run_not_found", "runs"


class RunStateConflict(Conflict):
    """The run is already in another final state."""

    code, domain = "run_state_conflict", "runs"


class RunNotRepeatable(Conflict):
    """The run shows observations: whether they may be shown, and answered where, is asked anew each time."""

    code, domain = "run_not_repeatable", "runs"


@dataclass(frozen=True, kw_only=True)
class NewRun:
    """What a submitter may say. Either ``input_items``, or ``content`` and ``attachments``.

    Items are ``{type: text, text}``, ``{type: asset_reference, asset_id}`` and ``{type: inline_asset,
    file_name, media_type, content_base64}``; attachments are the last two without their type.
    ``reply_targets`` (``{"plugin", "address"}`` in normal form) are explicit: they stand in for the session's
    defaults. ``binding_keys`` are bound to the session for good. ``daemon_metadata`` comes from the runtime
    itself and is kept as it is.
    """

    content: str = ""
    input_items: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    route_id: str = ""
    model: str = ""
    generation: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    source_plugin: str = "daemon"
    source_kind: str = "api"
    actor_id: str = "api-user"
    kind: str = "input"
    reply_targets: list[dict[str, Any]] = field(default_factory=list)
    binding_keys: list[str] = field(default_factory=list)
    daemon_metadata: dict[str, Any] = field(default_factory=dict)


def prepare(new: NewRun) -> NewRun:
    """Return ``new`` with the files that come along opened, so that ``submit`` is quick.

    Optional, and for before a transaction. Raises: what ``inputs.read`` raises.
    """
    items = inputs.read(new.content, new.input_items, new.attachments)
    return replace(new, content="", attachments=[], input_items=items)


def submit(session_id: str, new: NewRun, *, principal: str, session: Session | None = None) -> Run:
    """Accept one input: the run, ``run.accepted`` and ``run.queued`` in one commit, then the doorbell.

    A caller that has read the session, with its persona, in the same transaction passes it as ``session``.
    Explicit reply targets were judged for that session; they are judged again if it has changed since. Those
    of a connector also become the session's defaults. Binding keys are bound to it and files are stored and
    referred to in the same transaction. Joins an open transaction (the idempotency record's). No model is
    called and no worker is needed for it to succeed.
    Raises: SessionMissing, SessionEnded, RouteMissing, RouteOutOfScope, RouteNotReady, BadRequest,
    AssetMissing, Conflict(binding_key_taken), what ``assets.prepare`` raises, and Forbidden for a target
    that is out of scope by now.
    """
    found = _open(session or session_service.get(session_id))
    items = inputs.read(new.content, new.input_items, new.attachments)
    while True:
        try:
            return _submit(found, new, items, principal=principal)
        except writes.SessionChanged:  # its settings were read before somebody else's change: read them again
            found = _open(session_service.get(session_id))
            scope = found.credential_scope
            ports.reply_targets(new.reply_targets, credential_scope=scope, may_reach_private=True)


def may_retry(run: Run) -> bool:
    """Tell whether ``retry`` is for this run: it has ended, and it was not made from observations."""
    return run.status in TERMINAL and "materialization_id" not in run.metadata


def retry(run_id: str, *, content: str = "", principal: str) -> Run:
    """Submit the input of a run that has ended once more, to its session, on its route and model.

    ``content`` stands in for the whole input. The new run names the old one (``again_of``), is pinned to what
    the session is set to now, and answers where its runs answer now. Raises: RunMissing, RunStateConflict,
    RunNotRepeatable, and as ``submit``.
    """
    run = get(run_id)
    if run.status not in TERMINAL:
        raise RunStateConflict(f"the run is still {run.status}", run_id=run_id, run_status=run.status)
    if not may_retry(run):
        raise RunNotRepeatable(f"{run_id} was made from observations: materialize them again")
    new = NewRun(
        content=content,
        input_items=[] if content else run.input_items,
        route_id=run.route_id,
        # The route before the model's own name, for that may begin as another route's does.
        model=f"{run.route_id}/{run.model}" if run.model else "",
        generation=run.generation,
        metadata=run.metadata | {"again_of": run.run_id},
        actor_id=principal,
    )
    return submit(run.session.session_id, new, principal=principal)


def _open(session: Session) -> Session:
    if session.ended_at is not None:
        raise writes.SessionEnded(f"session {session.session_id} has ended")
    return session


def _submit(session: Session, new: NewRun, items: list[dict[str, Any]], *, principal: str) -> Run:
    """Accept the input under the settings of ``session``. Raises as ``submit``, and SessionChanged."""
    if _is_plain(new, items):
        return _accept(session, new, inputs.keep(items, principal=principal), principal)
    with write():
        if new.binding_keys:
            ports.bind(session, new.binding_keys, principal=principal)
        # The session before the files, as everywhere: whoever accepts an event holds it already.
        session_service.lock(session.pk)
        kept = inputs.keep(items, principal=principal)
        run = _accept(session, new, kept, principal)
        assets.refer(
            kept.assets, domain="run", owner_id=run.run_id, parent_id=session.session_id, role="input"
        )
    return run


def draft(session: Session, new: NewRun, *, principal: str) -> Change | None:
    """Return the change that accepts a prepared input, so that a transaction has only to write it.

    ``session`` is read outside of it, with its persona; the change holds for that revision of its settings
    alone (``SessionChanged``). None for an input that takes more than this one change: read it in the
    transaction (``submit``). Raises as ``submit``, and nothing is written.
    """
    if not _is_plain(new, new.input_items) or session.ended_at is not None:
        return None
    kept = inputs.keep(new.input_items, principal=principal)
    return _change(session, new, kept, principal)


def _is_plain(new: NewRun, items: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether accepting writes the run alone: no files, no keys, and no new defaults of the session."""
    return not _adopts(new) and not new.binding_keys and all(item["type"] == "text" for item in items)


def _adopts(new: NewRun) -> bool:
    """Tell whether the run's reply targets become the session's defaults: a connector's explicit ones do."""
    return bool(new.reply_targets) and new.source_plugin not in _OWN_PLUGINS


def _accept(session: Session, new: NewRun, kept: Kept, principal: str) -> Run:
    change = _change(session, new, kept, principal)
    run = change.accept
    assert run is not None
    run.accepted_place = writes.commit(change).queued_runs
    if _adopts(new):
        reply_targets.adopt(session, run)
    return run


def _change(session: Session, new: NewRun, kept: Kept, principal: str) -> Change:
    live = runtime_settings.current()
    pinned = routing.pin(
        policy=session.route_policy,
        credential_scope=session.credential_scope,
        route_id=new.route_id,
        model=new.model,
        generation=new.generation,
    )
    now = clock.now()
    run = Run(
        run_id=new_id("run"),
        session=session,
        kind=new.kind,
        route_id=pinned.route_id,
        model=pinned.model,
        fallbacks=pinned.fallbacks,
        generation=pinned.generation,
        persona=session.persona,
        permission_mode=session.permission_mode or live.permission_mode,
        runtime_revision=live.revision,
        reply_targets=new.reply_targets or session.reply_targets,
        source_plugin=new.source_plugin,
        source_kind=new.source_kind,
        actor_id=redact(new.actor_id),
        requested_by=principal,
        input_items=kept.items,
        input_message=kept.message,
        metadata=_client_metadata(new.metadata) | dict(redact(new.daemon_metadata)),
        max_steps=settings.KHEISH.max_turns,
        submitted_at=now,
        updated_at=now,
    )
    entries = (
        journal.entry(session.session_id, "run.accepted", _request_view(run), run=run),
        journal.entry(session.session_id, "run.queued", {"to": "queued"}, run=run),
    )
    return Change(session_pk=session.pk, entries=entries, accept=run, seen_revision=session.revision)


def _client_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Strip the keys that only the daemon may set."""
    kept = {
        key: value
        for key, value in metadata.items()
        if key not in _PROVENANCE and not key.startswith(_DAEMON_METADATA)
    }
    return dict(redact(kept))


def _request_view(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "kind": run.kind,
        "input_items": run.input_items,
        "metadata": run.metadata,
        "source_plugin": run.source_plugin,
        "source_kind": run.source_kind,
        "actor_id": run.actor_id,
        "principal": run.requested_by,
        "route_id": run.route_id,
        "model": run.model,
        "fallbacks": run.fallbacks,
        "permission_mode": run.permission_mode,
        "persona": session_service.persona_view(run.session),
    }


def text_preview(run: Run) -> str:
    """Return the first line's worth of the run's input."""
    return shortened(" ".join(str(run.input_message.get("content", "")).split()), _PREVIEW)


def get(run_id: str) -> Run:
    """Return the run with its session and persona. Raises: RunMissing."""
    found = _BY_ID.first(run_id)
    if found is None:
        raise RunMissing(f"there is no run {run_id}")
    return found


def head(session_pk: int) -> Run | None:
    """Return the first live run of a session in order, the only one that may be driven, or None."""
    return _HEAD.first(session_pk)


def _by_id(run_id: str) -> QuerySet[Run]:
    return Run.objects.select_related("session", "persona__persona").filter(run_id=run_id).order_by()


def _head(session_pk: int) -> QuerySet[Run]:
    rows = Run.objects.select_related("session", "persona__persona")
    return rows.filter(session_id=session_pk, status__in=sorted(LIVE)).order_by("position")[:1]


_BY_ID: Final = Prepared[Run](_by_id, str)
_HEAD: Final = Prepared[Run](_head, int)


def cancel(run_id: str, *, principal: str, reason: str = "") -> Run:
    """Cancel the run, now or at the holder's next boundary. Repeating it changes nothing.

    Raises: RunMissing, RunStateConflict (it ended in another way).
    """
    return _stop(run_id, RunStatus.CANCELLED, principal=principal, reason=reason)


def interrupt(session_id: str, *, principal: str, reason: str = "") -> Run | None:
    """Interrupt the session's active run, if there is one; runs that never started stay. Returns that run.

    A run that was resumed and waits for a worker is active.
    """
    session = session_service.get(session_id)
    resumed = Q(status=RunStatus.QUEUED, started_at__isnull=False)
    run = session.runs.filter(Q(status__in=sorted(ACTIVE)) | resumed).first()
    if run is None:
        return None
    try:
        return _stop(run.run_id, RunStatus.INTERRUPTED, principal=principal, reason=reason)
    except RunStateConflict:
        return None  # it ended before the session could be locked


def _stop(run_id: str, to: RunStatus, *, principal: str, reason: str) -> Run:
    with write():
        run = get(run_id)
        session_service.lock(run.session_id)
        run.refresh_from_db()
        if run.status == to or (run.status == RunStatus.RUNNING and run.stop_requested == to):
            return run
        if run.status in TERMINAL:
            raise RunStateConflict(f"the run is already {run.status}", run_id=run_id, run_status=run.status)
        payload = {"principal": principal, "reason": reason}
        if run.status == RunStatus.RUNNING:
            _request_stop(run, to, payload)
        else:
            waiting.cancel_open(run, why=reason or f"the run was {to}")
            run_state.transition(run, to, session_id=run.session.session_id, payload=payload)
    return get(run_id)


def _request_stop(run: Run, to: RunStatus, payload: dict[str, Any]) -> None:
    """Leave the request in the row: the lease holder, or whoever takes over, honours it."""
    run.stop_requested, run.stop_requested_by = to, payload["principal"]
    run.stop_reason = redact(payload["reason"])[:500]
    run.save(update_fields=["stop_requested", "stop_requested_by", "stop_reason"])
    entry = journal.entry(run.session.session_id, "run.stop_requested", {**payload, "to": str(to)}, run=run)
    journal.append(run.session_id, entry)

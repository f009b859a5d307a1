"""Sessions as clients see them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, QuerySet

from sessions_app.models import ACTIVE, LIVE, WAITING, Run, RunStatus, Session
from sessions_app.services import reply_targets, session_scopes
from sessions_app.services.projections.shape import View, known, time
from sessions_app.services.sessions import persona_view
from sessions_app.services.waiting_kinds import KINDS, Kind

_WAITS_AS: Final[Mapping[str, str]] = {
    RunStatus.WAITING_FOR_APPROVAL: "waiting_for_approval",
    RunStatus.WAITING_FOR_USER_QUESTION: "waiting_for_user_input",
    RunStatus.WAITING_FOR_OPERATOR: "waiting_for_operator",
    RunStatus.WAITING_FOR_BUDGET: "waiting_for_operator",  # raising a budget is an operator's act
}
SESSION_STATUSES: Final = ("idle", "running", *sorted(set(_WAITS_AS.values())), "ended")


def session_rows() -> QuerySet[Session]:
    """Return all sessions with what their views need."""
    return Session.objects.select_related("persona__persona")


def session_view(row: Session) -> View:
    """Return one session."""
    return session_views([row])[0]


def session_views(rows: Iterable[Session]) -> list[View]:
    """Return the sessions in the order given; four queries whatever their number, none if all are unused."""
    sessions = list(rows)
    pks = [row.pk for row in sessions if not row.unused]
    active = _active(pks)
    pending = {f"pending_{kind.noun}s": _pending(kind, pks) for kind in KINDS}
    return [
        _view(row, active.get(row.pk, (None, "")))
        | {name: numbers.get(row.pk, 0) for name, numbers in pending.items()}
        for row in sessions
    ]


def with_status(rows: QuerySet[Session], status: str) -> QuerySet[Session]:
    """Narrow ``rows`` to the sessions whose view shows ``status`` (one of ``SESSION_STATUSES``)."""
    if status == "ended":
        return rows.filter(ended_at__isnull=False)
    rows = rows.filter(ended_at__isnull=True)
    if status == "idle":
        return rows.filter(~_has_run(LIVE))
    if status == "running":
        return rows.filter(_has_run(LIVE - WAITING), ~_has_run(WAITING))
    return rows.filter(_has_run({run for run, shown in _WAITS_AS.items() if shown == status}))


def _has_run(statuses: Iterable[str]) -> Exists:
    return Exists(Run.objects.filter(session=OuterRef("pk"), status__in=sorted(statuses)))


def _active(pks: list[int]) -> dict[int, tuple[str, str]]:
    if not pks:
        return {}
    rows = Run.objects.filter(session_id__in=pks, status__in=sorted(ACTIVE))
    return {
        session: (run_id, status)
        for session, run_id, status in rows.values_list("session_id", "run_id", "status")
    }


def _pending(kind: Kind, pks: list[int]) -> dict[int, int]:
    if not pks:
        return {}
    rows = kind.pending().filter(session_id__in=pks)
    return dict(rows.values_list("session_id").annotate(number=Count("pk")))


def _view(row: Session, active: tuple[str | None, str]) -> View:
    run_id, run_status = active
    view: dict[str, Any] = {
        "session_id": row.session_id,
        "status": _status(row, run_status),
        **known(thread_id=row.thread_id or None, persona=persona_view(row), active_run_id=run_id),
        "route_policy": row.route_policy,
        "permission_mode": row.permission_mode or None,
        "permission_rules": row.permission_rules,
        "unknown_effects": row.unknown_effects,
        "capability_scope": row.capability_scope,
        "effective_capability_scope": session_scopes.effective_capabilities(row),
        "credential_scope": row.credential_scope,
        "effective_credential_scope": session_scopes.effective_credentials(row),
        "reply_targets": reply_targets.shown(row.reply_targets),
        "reply_targets_pinned": row.reply_targets_pinned,
        "queued_runs": row.queued_runs,
        "next_seq": row.next_seq,
        "todos": row.todos,
        "workspace": str(Path(settings.KHEISH.workspace_root) / row.workspace),
        "revision": row.revision,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
    }
    return view | known(ended_at=time(row.ended_at), end_reason=row.end_reason or None)


def _status(row: Session, run_status: str) -> str:
    if row.ended_at is not None:
        return "ended"
    if run_status in _WAITS_AS:
        return _WAITS_AS[run_status]
    return "running" if run_status or row.queued_runs else "idle"

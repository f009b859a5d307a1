"""Sessions: made, found, ended, interrupted, read back."""

from functools import partial
from typing import Any
from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import examples, filters
from sessions_app.api.etags import etag
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import sessions as shapes
from sessions_app.api.serializers.base import PageQuery, page_of
from sessions_app.api.serializers.events import EventQuery, EventView
from sessions_app.api.views.base import KheishView
from sessions_app.api.views.journals import journal_page
from sessions_app.models import Session
from sessions_app.services import events, journal, projections, reply_targets, runs, scopes, sessions
from sessions_app.services.session_authority import check_permission_settings
from sessions_app.services.sessions import NewSession
from sessions_app.tools.policy import parse_rules

_SCOPES = {"capability_scope": scopes.capability_scope, "credential_scope": scopes.credential_scope}


def address(session_id: str) -> str:
    """Return the path of a session."""
    return f"/v1/sessions/{quote(session_id, safe='')}"


def session_response(session: Session, *, status: int = 200) -> Response:
    """Answer with a session and its ETag."""
    headers = {"ETag": etag(session.revision)}
    if status == 201:
        headers["Location"] = address(session.session_id)
    return Response(projections.session_view(session), status=status, headers=headers)


class Sessions(KheishView):
    """``/v1/sessions``."""

    query_serializer = shapes.SessionQuery

    @describe(
        "sessions_list",
        "List sessions, newest first",
        answer=page_of(shapes.SessionView),
        example=examples.page(examples.SESSION),
    )
    def get(self, request: Request) -> Response:
        """One page of sessions."""
        rows = filters.narrow(filters.SessionFilter, self.query, projections.session_rows())
        return self.page(rows, projections.session_views)

    @describe(
        "sessions_create",
        "Make a session, or find the one of that id",
        status=201,
        body=shapes.NewSessionBody,
        answer=shapes.SessionView,
        body_example={"session_id": "incident-4821"},
        example=examples.SESSION,
        description="201 also when the session exists; 409 when it exists with another persona or scope.",
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Create or reuse."""
        body = self.body(shapes.NewSessionBody)
        check_permission_settings(
            self.principal, mode=body.get("permission_mode", ""), rules=body.get("permission_rules") or None
        )
        parse_rules("session", body.get("permission_rules", []))
        for member, normal in _SCOPES.items():
            body[member] = normal(body.get(member, {}))
        body["reply_targets"] = reply_targets.checked(
            body.get("reply_targets", ()), body["credential_scope"], principal=self.principal
        )
        session, _ = sessions.create(NewSession(**body), principal=self.principal.name)
        return session_response(session, status=201)


class OneSession(KheishView):
    """``/v1/sessions/{session_id}``."""

    @describe("sessions_get", "Get a session", answer=shapes.SessionView, example=examples.SESSION)
    def get(self, request: Request, session_id: str) -> Response:
        """The session; its revision is the ETag."""
        return session_response(sessions.get(session_id))


class SessionEnd(KheishView):
    """``/v1/sessions/{session_id}/end``."""

    @describe(
        "sessions_end",
        "End a session",
        body=shapes.ReasonBody,
        answer=shapes.SessionView,
        body_example={"reason": "resolved"},
        description="It takes no more input. 409 while it has live runs; a repeat changes nothing.",
    )
    @idempotent
    def post(self, request: Request, session_id: str) -> Response:
        """End it."""
        reason = self.body(shapes.ReasonBody)["reason"]
        return session_response(sessions.end(session_id, reason=reason, principal=self.principal.name))


class SessionInterrupt(KheishView):
    """``/v1/sessions/{session_id}/interrupt``."""

    @describe(
        "sessions_interrupt",
        "Interrupt the active run",
        body=shapes.ReasonBody,
        answer=shapes.Interruption,
        body_example={"reason": "wrong host"},
        description="A waiting run is interrupted at once, a running one soon; queued ones stay.",
    )
    @idempotent
    def post(self, request: Request, session_id: str) -> Response:
        """Interrupt what is active, if anything is."""
        reason = self.body(shapes.ReasonBody)["reason"]
        run = runs.interrupt(session_id, principal=self.principal.name, reason=reason)
        view: dict[str, Any] = {"interrupted": run is not None}
        if run is not None:
            view["run_id"] = run.run_id
        return Response(view | {"session": projections.session_view(sessions.get(session_id))})


class SessionEvents(KheishView):
    """``/v1/sessions/{session_id}/events``."""

    query_serializer = EventQuery

    @describe(
        "sessions_events",
        "Page through a session's journal",
        answer=page_of(EventView),
        example=examples.page(examples.EVENT, order="asc"),
    )
    def get(self, request: Request, session_id: str) -> Response:
        """One page, oldest first."""
        session, kinds = sessions.get(session_id), self.query["kinds"]
        total = events.count(session_pk=session.pk, kinds=kinds) if kinds else session.next_seq - 1
        return journal_page(self.query, partial(events.session_page, session.pk), total=total)


class SessionVerify(KheishView):
    """``/v1/sessions/{session_id}/verify``."""

    @describe("sessions_verify", "Recompute a session's hash chain", answer=shapes.JournalVerdict)
    def get(self, request: Request, session_id: str) -> Response:
        """Whether every entry is where and what it was when it was written."""
        found = journal.verify(sessions.get(session_id))
        view: dict[str, Any] = {
            "session_id": found.session_id,
            "valid": found.whole,
            "entries": found.entries,
            "head": found.head,
        }
        if not found.whole:
            view |= {"broken_at": found.broken_at, "problem": found.problem}
        return Response(view)


class SessionAudits(KheishView):
    """``/v1/sessions/{session_id}/permission-audits``."""

    query_serializer = PageQuery

    @describe(
        "sessions_permission_audits",
        "List the permission decisions of a session's tool calls",
        answer=page_of(shapes.AuditView),
    )
    def get(self, request: Request, session_id: str) -> Response:
        """One page, newest first."""
        rows = projections.audits(sessions.get(session_id))
        return self.page(rows, lambda found: [projections.audit_view(row) for row in found])

"""Tools that a session may use without asking, given and taken back one by one."""

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import sessions as shapes
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role
from sessions_app.services import grants, sessions

_EXAMPLE = {"tool_name": "write_file", "granted_by": "alice", "reason": "allowed for this session"}


class SessionGrants(KheishView):
    """``/v1/sessions/{session_id}/grants``."""

    write_role = Role.ADMIN

    @describe(
        "sessions_grants_list",
        "List what a session may do unasked",
        answer=shapes.GrantsView,
        example={"items": [_EXAMPLE]},
    )
    def get(self, request: Request, session_id: str) -> Response:
        """The grants, newest first."""
        return Response({"items": grants.of(sessions.get(session_id))})

    @describe(
        "sessions_grants_give",
        "Allow a tool for this session",
        body=shapes.GrantBody,
        answer=shapes.GrantsView,
        body_example={"tool_name": "write_file"},
        example={"items": [_EXAMPLE]},
        description="Not for calls of high risk, nor against a rule that denies. A repeat changes nothing.",
    )
    @idempotent
    def post(self, request: Request, session_id: str) -> Response:
        """Give it."""
        body = self.body(shapes.GrantBody)
        session = grants.give(session_id, body["tool_name"], principal=self.principal, reason=body["reason"])
        return Response({"items": grants.of(session)})


class OneGrant(KheishView):
    """``/v1/sessions/{session_id}/grants/{tool_name}``."""

    @describe(
        "sessions_grants_revoke",
        "Take a grant back",
        answer=shapes.GrantsView,
        example={"items": []},
        description="Any operator may. From the next call on people are asked again.",
    )
    def delete(self, request: Request, session_id: str, tool_name: str) -> Response:
        """Take it back."""
        session = grants.revoke(session_id, tool_name, principal=self.principal)
        return Response({"items": grants.of(session)})

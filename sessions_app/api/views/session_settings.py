"""The settings of a session, one address each. They hold for runs created from then on.

PUT and DELETE need ``If-Match`` with the session's ETag. POST does the same as PUT and needs none: it
is for callers that mean to overwrite whatever is there.
"""

from collections.abc import Callable
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api.etags import check_match, etag
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import sessions as shapes
from sessions_app.api.serializers.base import StrictSerializer
from sessions_app.api.views.base import KheishView
from sessions_app.api.views.sessions import session_response
from sessions_app.models import Session, UnknownEffects
from sessions_app.services import projections, session_scopes, sessions
from sessions_app.services.principal import Principal
from sessions_app.services.session_authority import check_mode_change, check_permission_settings
from sessions_app.tools.policy import parse_rules

Apply = Callable[[Principal, str, Any, int | None], Session]


class Setting(KheishView):
    """A setting by the name it has in views and bodies."""

    member = ""

    def show(self, session_id: str) -> Response:
        """Answer with the setting alone."""
        session = sessions.get(session_id)
        view = projections.session_view(session)
        value = view.get("persona", {}).get(self.member) if self.member == "persona_id" else view[self.member]
        return Response({self.member: value}, headers={"ETag": etag(session.revision)})

    def change(self, session_id: str, apply: Apply, value: Any, *, must_match: bool) -> Response:
        """Apply ``value`` and answer with the session."""
        revision = None
        if must_match or self.request.headers.get("If-Match"):
            revision = sessions.get(session_id).revision
            check_match(self.request, revision)
        return session_response(apply(self.principal, session_id, value, revision))


def _setting(name: str, words: str, shape: type[StrictSerializer], apply: Apply, example: Any) -> Any:
    """Return the view of the setting ``name``: read, replaced (PUT, POST) and cleared (DELETE)."""
    operation, shown = f"sessions_{name}", {name: example}

    class View(Setting):
        __doc__ = words
        member = name

        @describe(f"{operation}_get", f"Get {words}", answer=shape, example=shown)
        def get(self, request: Request, session_id: str) -> Response:
            """The setting."""
            return self.show(session_id)

        @describe(
            f"{operation}_put",
            f"Replace {words}",
            body=shape,
            answer=shapes.SessionView,
            body_example=shown,
            if_match=True,
        )
        def put(self, request: Request, session_id: str) -> Response:
            """Replace it, having seen what is there."""
            return self.change(session_id, apply, self.body(shape)[name], must_match=True)

        @describe(
            f"{operation}_post",
            f"Overwrite {words}",
            body=shape,
            answer=shapes.SessionView,
            body_example=shown,
        )
        @idempotent
        def post(self, request: Request, session_id: str) -> Response:
            """Replace it, whatever is there."""
            return self.change(session_id, apply, self.body(shape)[name], must_match=False)

        @describe(f"{operation}_delete", f"Clear {words}", answer=shapes.SessionView, if_match=True)
        def delete(self, request: Request, session_id: str) -> Response:
            """Back to the default."""
            return self.change(session_id, apply, None, must_match=True)

    View.__name__ = View.__qualname__ = "Session" + name.title().replace("_", "")
    return View


def _route_policy(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    return sessions.set_route_policy(session_id, value or {}, principal=who.name, expected_revision=revision)


def _persona(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    return sessions.bind_persona(session_id, value, principal=who.name, expected_revision=revision)


def _permission_mode(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    check_mode_change(who, value or "")
    return sessions.set_permission_mode(
        session_id, value or "", principal=who.name, expected_revision=revision
    )


def _permission_rules(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    check_permission_settings(who, rules=value or [])
    parse_rules("session", value or [])
    return sessions.set_permission_rules(
        session_id, value or [], principal=who.name, expected_revision=revision
    )


def _unknown_effects(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    return sessions.set_unknown_effects(
        session_id, value or UnknownEffects.ASK, principal=who.name, expected_revision=revision
    )


def _capability_scope(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    return session_scopes.set_capability_scope(
        session_id, value or {}, principal=who, expected_revision=revision
    )


def _credential_scope(who: Principal, session_id: str, value: Any, revision: int | None) -> Session:
    return session_scopes.set_credential_scope(
        session_id, value or {}, principal=who, expected_revision=revision
    )


SessionRoutePolicy = _setting(
    "route_policy",
    "the default route and generation of future runs",
    shapes.RoutePolicyBody,
    _route_policy,
    {"route_id": "main", "generation": {"temperature": 0.2}},
)
SessionPersona = _setting(
    "persona_id",
    "the persona a session binds (as a snapshot; needs it idle)",
    shapes.PersonaBody,
    _persona,
    "reviewer",
)
SessionPermissionMode = _setting(
    "permission_mode", "a session's permission mode", shapes.PermissionModeBody, _permission_mode, "plan"
)
SessionPermissionRules = _setting(
    "permission_rules",
    "a session's own permission rules",
    shapes.PermissionRulesBody,
    _permission_rules,
    [{"tool_name_pattern": "bash", "behavior": "ask", "required_votes": 2}],
)
SessionUnknownEffects = _setting(
    "unknown_effects",
    "what an effect of unknown outcome does",
    shapes.UnknownEffectsBody,
    _unknown_effects,
    "ask",
)
SessionCapabilityScope = _setting(
    "capability_scope",
    "what a session's agent can see (needs it idle; to widen it, the role admin)",
    shapes.CapabilityScopeBody,
    _capability_scope,
    {"skill_allow": ["git"], "mcp_server_deny": ["*"]},
)
SessionCredentialScope = _setting(
    "credential_scope",
    "what a session's agent may use (needs it idle; to widen it, the role admin)",
    shapes.CredentialScopeBody,
    _credential_scope,
    {"route_allow": ["main"], "connector_deny": ["*"]},
)

"""Which route and model a run is pinned to: run override, then session policy, then daemon default.

A run that names a model but no route leaves the policy's route aside. A selector may be ``model`` or
``route/model``, of a run as of a policy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kheish_site.lib.errors import BadRequest, Conflict, Forbidden
from sessions_app.models import Route
from sessions_app.services import routes, scopes
from sessions_app.services.routes import RouteMissing


class RouteNotReady(Conflict):
    """The route cannot be called as it is configured, so no run is created for it."""

    code, domain = "route_not_ready", "routes"


class RouteOutOfScope(Forbidden):
    """The session's credential scope does not include the route."""

    code, domain = "route_out_of_scope", "routes"


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """What a run keeps of the routing configuration for its whole life."""

    route_id: str
    model: str
    fallbacks: list[str]
    generation: dict[str, Any]


def pin(
    *,
    policy: Mapping[str, Any],
    credential_scope: Mapping[str, Any],
    route_id: str = "",
    model: str = "",
    generation: Mapping[str, Any] | None = None,
) -> Pinned:
    """Resolve the precedence once, for a run being created. Fallbacks out of scope are left out.

    Raises: RouteMissing, RouteOutOfScope, RouteNotReady, BadRequest (selector and route contradict each
    other).
    """
    own = {key: value for key, value in (generation or {}).items() if value is not None}
    usual = dict(policy.get("generation") or {})
    named, model = _named(route_id, model or own.get("model"))
    if not model:
        policy_route, policy_model = _named(policy.get("route_id"), usual.get("model"))
        named = named or policy_route
        model = policy_model if named == policy_route else ""
    route = _find(named)
    settings = usual | own
    settings.pop("model", None)
    if not scopes.permits(credential_scope, "route", route.route_id):
        raise RouteOutOfScope(f"the session's credential scope does not include route {route.route_id}")
    problems = routes.readiness(route)
    if problems:
        raise RouteNotReady(f"route {route.route_id} is not ready: {problems[0]}", problems=problems)
    return Pinned(
        route_id=route.route_id,
        model=model or route.model,
        fallbacks=[name for name in route.fallbacks if scopes.permits(credential_scope, "route", name)],
        generation=settings,
    )


def _find(route_id: str) -> Route:
    route = routes.find(route_id) if route_id else routes.default()
    if route is None:
        raise RouteMissing(f"there is no route {route_id}" if route_id else "there is no default route")
    return route


def _named(route_id: str | None, selector: str | None) -> tuple[str, str]:
    """Return the route and the model that both say together, "" for what neither does. Raises: BadRequest."""
    selected, model = _split(selector or "")
    if selected and route_id and selected != route_id:
        raise BadRequest(
            "the model selector names another route than route_id", code="route_selector_conflict"
        )
    return route_id or selected, model


def _split(selector: str) -> tuple[str, str]:
    head, slash, rest = selector.partition("/")
    if slash and Route.objects.filter(route_id=head).exists():
        if not rest:
            raise BadRequest(f"the selector {selector!r} names no model", code="model_selector_invalid")
        return head, rest
    return "", selector

"""Routes: where models are reached. One is the default; each names the routes to try after it."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.db.models import QuerySet

from kheish_site.lib import revisions
from kheish_site.lib.errors import BadRequest, Conflict, NotFound
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import exclusive, write
from sessions_app.models import Route, SecretSlot
from sessions_app.providers import registry
from sessions_app.providers.base import Endpoint
from sessions_app.services import audit, secrets

logger = logging.getLogger(__name__)

BUILTIN: Final = "scripted"
WELCOME: Final = "welcome"
_NEEDS_NO_MODEL: Final = frozenset({"scripted"})


class RouteMissing(NotFound):
    """No such route."""

    code, domain = "route_not_found", "routes"


class RouteInvalid(BadRequest):
    """The route breaks a rule; the detail says which."""

    code, domain = "invalid_route", "routes"


class RouteExists(Conflict):
    """Another route has this id."""

    code, domain = "route_exists", "routes"


class RouteInUse(Conflict):
    """The route is the default of several, or a fallback of another one."""

    code, domain = "route_in_use", "routes"


@dataclass(frozen=True, kw_only=True)
class RouteFields:
    """What an operator writes of a route."""

    driver: str
    model: str = ""
    base_url: str = ""
    auth_ref: str = ""
    fallbacks: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


def create(route_id: str, fields: RouteFields, *, default: bool = False) -> Route:
    """Make a route; the first one becomes the default. Raises: RouteExists, RouteInvalid."""
    with write():
        exclusive("configuration")
        if Route.objects.filter(route_id=route_id).exists():
            raise RouteExists(f"there is a route {route_id} already")
        route = _filled(Route(route_id=route_id), fields)
        _check(route)
        wanted = default or not Route.objects.exists()
        route.save()
        if wanted:
            _make_default(route)
        audit.record("route.created", "route", route_id, after=_told(route))
    logger.info(
        "route created", extra={"action": "routes.create", "route_id": route_id, "driver": route.driver}
    )
    return route


def update(route_id: str, changes: Mapping[str, Any], *, expected: frozenset[int] | None = None) -> Route:
    """Change some fields of a route (those of ``RouteFields``, and ``default``: true).

    ``expected`` lists acceptable revisions, None any. Queued runs keep the route and model they
    pinned; address and credential are read when a model is called.
    Raises: RouteMissing, RouteInvalid, PreconditionFailed.
    """
    changed = dict(changes)
    default = changed.pop("default", None)
    with write():
        exclusive("configuration")
        route = get(route_id)
        revisions.check(route.revision, expected)
        if default is False and route.is_default:
            raise RouteInvalid("make another route the default instead")
        was = _told(route)
        current = {name: getattr(route, name) for name in RouteFields.__dataclass_fields__}
        _filled(route, RouteFields(**(current | changed)))
        _check(route)
        route.revision += 1
        route.save()
        if default:
            _make_default(route)
        audit.record("route.updated", "route", route_id, before=was, after=_told(route))
    logger.info("route updated", extra={"action": "routes.update", "route_id": route_id})
    return route


def delete(route_id: str, *, expected: frozenset[int] | None = None) -> None:
    """Remove a route. Queued runs that pinned it will fail; they are never moved to another one.

    Raises: RouteMissing, RouteInUse, PreconditionFailed.
    """
    with write():
        exclusive("configuration")
        route = get(route_id)
        revisions.check(route.revision, expected)
        others = list(Route.objects.exclude(pk=route.pk))
        users = sorted(other.route_id for other in others if route_id in other.fallbacks)
        if users:
            raise RouteInUse(f"{route_id} is a fallback of {', '.join(users)}", referenced_by=users)
        if route.is_default and others:
            raise RouteInUse(f"{route_id} is the default: make another route the default first")
        audit.record("route.deleted", "route", route_id, before=_told(route))
        route.delete()
    logger.info("route deleted", extra={"action": "routes.delete", "route_id": route_id})


def set_default(route_id: str) -> Route:
    """Make one route the default. Raises: RouteMissing."""
    with write():
        exclusive("configuration")
        route = get(route_id)
        was = _told(route)
        _make_default(route)
        audit.record("route.updated", "route", route_id, before=was, after=_told(route))
    logger.info("default route set", extra={"action": "routes.set_default", "route_id": route_id})
    return route


def _told(route: Route) -> dict[str, Any]:
    """Return what the audit log says of a route."""
    return {name: getattr(route, name) for name in (*RouteFields.__dataclass_fields__, "is_default")}


def everything() -> QuerySet[Route]:
    """Return all routes."""
    return Route.objects.all()


_BY_ID: Final = Prepared[Route](lambda route_id: Route.objects.filter(route_id=route_id).order_by(), str)
_DEFAULT: Final = Prepared[Route](lambda: Route.objects.filter(is_default=True).order_by())


def find(route_id: str) -> Route | None:
    """Return one route, or None."""
    return _BY_ID.first(route_id)


def get(route_id: str) -> Route:
    """Return one route. Raises: RouteMissing."""
    route = find(route_id)
    if route is None:
        raise RouteMissing(f"there is no route {route_id}")
    return route


def default() -> Route | None:
    """Return the default route, if there is any route at all."""
    return _DEFAULT.first()


def readiness(route: Route) -> list[str]:
    """Return why the route cannot be called now, a sentence each; empty when it can."""
    return readiness_of([route])[route.route_id]


def readiness_of(routes: Iterable[Route]) -> dict[str, list[str]]:
    """Return the ``readiness`` of many routes by id, with one query."""
    rows = list(routes)
    names = {route.auth_ref for route in rows if route.auth_ref}
    slots = {slot.slot_id: slot for slot in SecretSlot.objects.filter(slot_id__in=names)} if names else {}
    return {route.route_id: list(_problems(route, slots)) for route in rows}


def doubts(route: Route) -> list[str]:
    """Return what of the route has no effect, a sentence each. It can be called all the same."""
    endpoint = Endpoint(driver=route.driver, options=route.options)
    found = [f"driver {route.driver} reads no option {name}" for name in registry.unread_options(endpoint)]
    chosen = {"script", "script_path"} & set(route.options)
    if route.driver == "scripted" and route.model not in ("", WELCOME) and not chosen:
        found.append(f"model {route.model} chooses no script, so {WELCOME} is played: set option script")
    return found


def endpoint_for(route: Route) -> Endpoint:
    """Return what a provider needs to call the route, its key unsealed. Raises: SecretMissing, Unreadable."""
    return Endpoint(
        driver=route.driver,
        base_url=route.base_url,
        api_key=secrets.reveal(route.auth_ref).strip() if route.auth_ref else "",
        options=route.options,
    )


def ensure_builtin() -> None:
    """Give an installation without any route one that works offline: a scripted welcome."""
    with write():
        exclusive("configuration")
        if not Route.objects.exists():
            create(BUILTIN, RouteFields(driver="scripted", model=WELCOME, options={"script": WELCOME}))


def _filled(route: Route, fields: RouteFields) -> Route:
    for name in RouteFields.__dataclass_fields__:
        setattr(route, name, getattr(fields, name))
    return route


def _make_default(route: Route) -> None:
    if route.is_default:
        return
    Route.objects.filter(is_default=True).update(is_default=False)
    route.is_default = True
    route.save(update_fields=["is_default", "updated_at"])


def _check(route: Route) -> None:
    """Refuse what can never be called, whatever else is configured later.

    Only here is the driver asked: building a provider costs too much for every ``readiness``.
    """
    if route.driver not in registry.drivers():
        raise RouteInvalid(f"unknown driver {route.driver}; known: {', '.join(registry.drivers())}")
    if route.base_url:
        _check_url(route.base_url)
    _check_fallbacks(route)
    unusable = registry.problems(
        Endpoint(driver=route.driver, base_url=route.base_url, options=route.options)
    )
    if unusable:
        raise RouteInvalid("; ".join(unusable))


def _check_url(base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    if not usable or parts.query or parts.fragment:
        raise RouteInvalid("base_url must be an http or https address without query or fragment")
    if parts.username is not None or parts.password is not None:
        raise RouteInvalid(
            "base_url may not hold credentials: put them in a secret slot and name it in auth_ref"
        )


def _check_fallbacks(route: Route) -> None:
    if len(set(route.fallbacks)) != len(route.fallbacks):
        raise RouteInvalid("a fallback is named twice")
    if route.route_id in route.fallbacks:
        raise RouteInvalid("a route cannot be its own fallback")
    others = dict(Route.objects.exclude(route_id=route.route_id).values_list("route_id", "fallbacks"))
    missing = [name for name in route.fallbacks if name not in others]
    if missing:
        raise RouteInvalid(f"there is no route {missing[0]} to fall back to")
    ahead, seen = list(route.fallbacks), set()
    while ahead:
        name = ahead.pop()
        if name == route.route_id:
            raise RouteInvalid("the fallbacks lead back to this route")
        if name not in seen:
            seen.add(name)
            ahead += others.get(name, [])


def _problems(route: Route, slots: Mapping[str, SecretSlot]) -> Iterable[str]:
    if route.driver not in registry.drivers():
        yield f"driver {route.driver} is not known"
        return
    if not route.model and route.driver not in _NEEDS_NO_MODEL:
        yield "no model is set"
    if route.auth_ref and route.auth_ref not in slots:
        yield f"secret slot {route.auth_ref} is missing"
    elif route.auth_ref and not secrets.is_readable(slots[route.auth_ref]):
        yield f"secret slot {route.auth_ref} cannot be read with the master key"
    script_path = route.options.get("script_path")
    if route.driver == "scripted" and script_path is not None and not Path(str(script_path)).is_file():
        yield f"script_path {script_path} is not a file"
    if route.driver == "openai" and not route.base_url and not route.auth_ref:
        yield "auth_ref names no secret slot, and the public API needs a key"

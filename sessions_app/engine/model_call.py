"""Calling the model: routes in their pinned order, retries inside each, deltas on the way."""

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from kheish_site.lib.transactions import release_connection
from sessions_app.engine import images
from sessions_app.engine.turn import Turn
from sessions_app.models import Route
from sessions_app.providers import registry
from sessions_app.providers.base import (
    Completion,
    Delta,
    ProviderError,
    Request,
    TextDelta,
    ToolProtocol,
    collect,
)
from sessions_app.providers.retry import call_with_retries
from sessions_app.services import routes
from sessions_app.services.doorbell import live
from sessions_app.services.doorbell.relay import DeltaRelay

ATTEMPTS: Final = 4
_MOVES_ON: Final = frozenset({"overloaded", "transport"})


class RouteGone(Exception):
    """The pinned route exists no more; a run is never rerouted for that."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A completion, and who gave it."""

    completion: Completion
    route_id: str
    model: str
    latency_ms: int


def pinned_route(turn: Turn) -> Route:
    """Return the route the run was pinned to. Raises: RouteGone."""
    route = routes.find(turn.run.route_id)
    if route is None:
        raise RouteGone(turn.run.route_id)
    return route


def tool_protocol(route: Route) -> ToolProtocol:
    """Return how the route's model is told of tools."""
    return "json" if route.options.get("tool_protocol") == "json" else "native"


def call(turn: Turn, request: Request, route: Route) -> Answer:
    """Ask the run's route, then its fallbacks. No transaction and no connection is held meanwhile.

    Raises: ProviderError (of the last route asked), Cancelled.
    """
    fallbacks = [name for name in turn.run.fallbacks if name != route.route_id]
    while True:
        try:
            return _ask(turn, request, route, first=route.route_id == turn.run.route_id)
        except ProviderError as error:
            following = _next_route(fallbacks) if error.kind in _MOVES_ON else None
            if following is None:
                raise
            _journal_switch(turn, route, error, following.route_id)
            route = following


def _next_route(fallbacks: list[str]) -> Route | None:
    """Take the next fallback off the list that still exists and can be called."""
    while fallbacks:
        route = Route.objects.filter(route_id=fallbacks.pop(0)).first()
        if route is not None and not routes.readiness(route):
            return route
    return None


def _ask(turn: Turn, request: Request, route: Route, *, first: bool) -> Answer:
    """Call one route. A fallback is asked for its own model; the run's is pinned to the first."""
    model = request.model if first else route.model
    endpoint = routes.endpoint_for(route)
    provider = registry.build(endpoint)
    fitting = images.loaded(request) if endpoint.takes_images else images.without(request)
    began = time.monotonic()

    def attempt() -> Completion:
        asked = replace(fitting, model=model, attempt=turn.attempt, tool_protocol=tool_protocol(route))
        turn.attempt += 1  # also on the next route, so that nobody takes two texts for one
        relay = _relay(turn, asked.attempt)
        completion = collect(provider.stream(asked, cancelled=turn.hold.stop), partial(_show, relay))
        relay.close()
        return completion

    release_connection()
    completion = call_with_retries(
        attempt,
        attempts=ATTEMPTS,
        cancelled=turn.hold.stop,
        on_retry=partial(_journal_failure, turn, route.route_id),
    )
    latency_ms = int((time.monotonic() - began) * 1000)
    return Answer(completion=completion, route_id=route.route_id, model=model, latency_ms=latency_ms)


def _journal_failure(turn: Turn, route_id: str, error: ProviderError, delay: float) -> None:
    """Say in the journal that a call failed and when it is made again: no retry is silent."""
    payload = {
        "route_id": route_id,
        "step": turn.run.step,
        "error": {"kind": error.kind, "message": error.message},
        "next_attempt": turn.attempt,
        "delay_seconds": round(delay, 3),
    }
    turn.append(turn.entry("model.failed", payload))
    release_connection()


def _relay(turn: Turn, attempt: int) -> DeltaRelay:
    first = live.Delta(
        session_pk=turn.run.session_id,
        run_pk=turn.run.pk,
        run_id=turn.run.run_id,
        session_id=turn.session_id,
        step=turn.run.step,
        attempt=attempt,
        index=0,
        text="",
    )
    return DeltaRelay(first)


def _show(relay: DeltaRelay, delta: Delta) -> None:
    if isinstance(delta, TextDelta):
        relay.push(delta.text)


def _journal_switch(turn: Turn, route: Route, error: ProviderError, following: str) -> None:
    payload = {
        "from": route.route_id,
        "to": following,
        "step": turn.run.step,
        "error": {"kind": error.kind, "message": error.message},
    }
    turn.append(turn.entry("model.switched", payload))

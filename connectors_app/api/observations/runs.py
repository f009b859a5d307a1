"""Observations shown to an agent."""

from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.observations import examples, shapes
from connectors_app.services.observations import materialize
from connectors_app.services.observations.materialize import Order
from connectors_app.services.observations.selection import Selection
from sessions_app.api import examples as core_examples
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers.runs import RunView
from sessions_app.api.views.base import KheishView
from sessions_app.api.views.runs import accepted

_CHOICE = ("max_observations", "lookback_seconds", "raw_asset_policy", "fail_when_empty")


class Materialize(KheishView):
    """``/v1/observations/materialize``."""

    @describe(
        "observations_materialize", "Show observations to a session's agent", status=202,
        body=shapes.MaterializeBody, answer=RunView, body_example=examples.MATERIALIZE,
        example=core_examples.RUN,
        description=(
            "One run, queued when the session is busy. What devices recorded is fenced as data that holds no "
            "instructions. `reply_targets` only where every source allows output delivery; where one does "
            "not, answers stay with the run."
        ),
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Materialize."""
        body = self.body(shapes.MaterializeBody)
        chosen = Selection(selector=body.pop("selector"), **{name: body.pop(name) for name in _CHOICE})
        order = Order(chosen=chosen, may_reach_private=self.principal.can_administer, **body)
        made = materialize.materialize(order, principal=self.principal.name)
        return accepted(made.run)

"""Deliveries over HTTP: what leaves, what did not, and what people do about it."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api import delivery_examples as examples
from connectors_app.api import delivery_shapes as shapes
from connectors_app.api.plain import OnlyAnswer, PlainText
from connectors_app.models import Delivery, DeliveryStatus
from connectors_app.services.deliveries import control, find, health, operate, shown, targets
from sessions_app.api.examples import page as page_example
from sessions_app.api.idempotency import idempotent, in_steps, keyed, read_key
from sessions_app.api.schema import describe
from sessions_app.api.serializers.base import NoBody, page_of
from sessions_app.api.views.base import KheishView


def _narrowed(query: dict[str, Any]) -> QuerySet[Delivery]:
    """Return the deliveries a query asks for. Raises: TargetMissing."""
    rows = find.rows()
    columns = {"session_id": "session__session_id", "run_id": "run__run_id", "plugin": "target__plugin"}
    rows = rows.filter(**{column: query[name] for name, column in columns.items() if name in query})
    if "target" in query:
        rows = rows.filter(target=targets.get(query["target"]))
    if "status" in query:
        rows = rows.filter(status=query["status"])
    return rows.filter(find.TROUBLE) if query.get("unresolved") else rows


class Deliveries(KheishView):
    """``/v1/deliveries``."""

    query_serializer = shapes.DeliveryQuery

    @describe(
        "deliveries_list", "List deliveries, newest first", answer=page_of(shapes.DeliveryView),
        example=page_example(examples.DELIVERY),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of deliveries."""
        return self.page(_narrowed(self.query), shown.delivery_views)

    @describe(
        "deliveries_create", "Send something by hand", status=202, body=shapes.NewDeliveryBody,
        answer=shapes.NewDeliveryView, body_example=examples.NEW, example={"deliveries": [examples.QUEUED]},
        description="Queued behind what waits for that target. The session's scope must permit the handle.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Queue it."""
        body = self.body(shapes.NewDeliveryBody)
        made = operate.send_by_hand(
            body["session_id"], body["output"], body["handle"], principal=self.principal
        )
        return Response({"deliveries": shown.delivery_views(made)}, status=202)


class DeadLetters(KheishView):
    """``/v1/deliveries/dead-letter``."""

    query_serializer = shapes.DeadLetterQuery

    @describe(
        "deliveries_dead_letter", "List dead letters, newest first", answer=page_of(shapes.DeliveryView),
        example=page_example(examples.DELIVERY),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of dead letters."""
        rows = _narrowed(self.query).filter(status=DeliveryStatus.DEAD_LETTERED)
        return self.page(rows, shown.delivery_views)


class OneDelivery(KheishView):
    """``/v1/deliveries/{delivery_id}``."""

    @describe(
        "deliveries_get", "Get a delivery", answer=shapes.DeliveryDetail, example=examples.DETAIL,
        description="What it says is shown to operators.",
    )  # fmt: skip
    def get(self, request: Request, delivery_id: str) -> Response:
        """The delivery."""
        return _detail(find.get(delivery_id), self)


class DeliveryReplay(KheishView):
    """``…/replay``."""

    @describe(
        "deliveries_replay", "Send a dead letter again", status=201, body=shapes.ReplayBody,
        answer=shapes.DeliveryDetail, body_example={"force": False}, answers={200: shapes.DeliveryDetail},
        example=examples.DETAIL,
        description="A new delivery; 200 with the newest replay there is, unless `force`.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, delivery_id: str) -> Response:
        """Queue it again."""
        force = self.body(shapes.ReplayBody)["force"]
        replay, is_new = operate.replay(delivery_id, force=force, principal=self.principal)
        return _detail(find.get(replay.delivery_id), self, status=201 if is_new else 200)


class DeliveryResolve(KheishView):
    """``…/resolve``."""

    @describe(
        "deliveries_resolve", "Say that a dead letter needs no more attention", body=shapes.ResolveBody,
        answer=shapes.DeliveryDetail, body_example={"reason": "told them by phone"}, example=examples.DETAIL,
        description="It stays a dead letter and no longer counts as trouble. A repeat changes nothing.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, delivery_id: str) -> Response:
        """Resolve it."""
        reason = self.body(shapes.ResolveBody)["reason"]
        return _detail(operate.resolve(delivery_id, reason=reason, principal=self.principal), self)


class DeliveryDecide(KheishView):
    """``…/decide``."""

    @describe(
        "deliveries_decide", "Say what came of a delivery of unknown outcome", body=shapes.DecideBody,
        answer=shapes.DeliveryDetail, body_example={"outcome": "happened", "reason": "it is in the channel"},
        example=examples.DETAIL,
        description=(
            "`not_happened` sends it again as a new delivery. The same outcome again is 200, another one is "
            "409 with the one that won."
        ),
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, delivery_id: str) -> Response:
        """Decide it."""
        body = self.body(shapes.DecideBody)
        found = operate.decide(delivery_id, body["outcome"], reason=body["reason"], principal=self.principal)
        return _detail(found, self)


class BulkReplay(KheishView):
    """``/v1/deliveries/replay-bulk``."""

    @describe(
        "deliveries_replay_bulk", "Send many dead letters again", body=shapes.BulkReplayBody,
        answer=shapes.BulkReplayView, body_example={"plugin": "http", "dry_run": True},
        example=examples.REPLAYED,
        description="Oldest first, each on its own: after an error the same request goes on.",
    )  # fmt: skip
    @keyed
    def post(self, request: Request) -> Response:
        """Queue them again."""
        return in_steps(request, lambda: self._replay(read_key(request)))

    def _replay(self, key: str) -> Response:
        body = self.body(shapes.BulkReplayBody)
        rows = _narrowed({**body, "unresolved": body["unresolved_only"]})
        done = operate.replay_bulk(
            rows,
            limit=body["limit"],
            force=body["force"],
            dry_run=body["dry_run"],
            principal=self.principal,
            once=f"{self.principal.name}:{key}" if key else "",
        )
        return Response({"dry_run": body["dry_run"], "items": [_bulk_item(one) for one in done]})


class BackpressureReset(KheishView):
    """``/v1/deliveries/backpressure/reset``."""

    @describe(
        "deliveries_backpressure_reset", "Forget the failures of targets", body=shapes.ResetBody,
        answer=shapes.ResetView, body_example={"plugin": "http", "dry_run": True}, example=examples.RESET,
        description="Closes their circuits; each head is tried when its own wait is over.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Forget them."""
        body = self.body(shapes.ResetBody)
        found = control.reset_backpressure(
            digest=body.get("target", ""),
            plugin=body.get("plugin", ""),
            dry_run=body["dry_run"],
            principal=self.principal,
        )
        return Response({"dry_run": body["dry_run"], "targets": shown.target_views(found)})


class Targets(KheishView):
    """``/v1/delivery-targets``."""

    query_serializer = shapes.TargetQuery

    @describe(
        "delivery_targets_list", "List delivery targets, newest first", answer=page_of(shapes.TargetView),
        example=page_example(examples.TARGET),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of targets."""
        rows = targets.rows()
        if plugin := self.query.get("plugin"):
            rows = rows.filter(plugin=plugin)
        if connector := self.query.get("connector"):
            rows = rows.filter(connector_name=connector)
        if self.query.get("waiting"):
            rows = rows.filter(next_at__isnull=False)
        return self.page(rows, shown.target_views)


class TargetPause(KheishView):
    """``/v1/delivery-targets/{digest}/pause``."""

    @describe(
        "delivery_targets_pause", "Send nothing more to a target", body=NoBody, answer=shapes.TargetView,
        example={**examples.TARGET, "paused": True},
        description="What is being sent ends; the rest waits. A repeat changes nothing.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, digest: str) -> Response:
        """Pause it."""
        self.body(NoBody)
        return Response(shown.target_view(control.pause(digest, principal=self.principal)))


class TargetResume(KheishView):
    """``/v1/delivery-targets/{digest}/resume``."""

    @describe(
        "delivery_targets_resume", "Send to a paused target again", body=NoBody, answer=shapes.TargetView,
        example=examples.TARGET,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, digest: str) -> Response:
        """Resume it."""
        self.body(NoBody)
        return Response(shown.target_view(control.resume(digest, principal=self.principal)))


class Metrics(KheishView):
    """``/v1/runtime/deliveries/metrics``."""

    renderer_classes = (PlainText,)
    content_negotiation_class = OnlyAnswer

    @describe(
        "deliveries_metrics", "Get the gauges of deliveries in Prometheus' text format", answer=str,
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """The gauges."""
        return Response(health.metrics(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _detail(found: Delivery, view: KheishView, *, status: int = 200) -> Response:
    return Response(shown.delivery_detail(found, content=view.principal.can_operate), status=status)


def _bulk_item(done: operate.Replayed) -> dict[str, Any]:
    replay = {"replay_delivery_id": done.replay.delivery_id} if done.replay is not None else {}
    return {"delivery_id": done.source.delivery_id, "action": done.action, **replay}

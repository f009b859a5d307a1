"""Addresses of the control plane: connectors, who their people are, deliveries."""

from django.urls import path

from connectors_app.api import connectors, deliveries, urls_identities
from connectors_app.api.observations import urls as observations

_ONE = "v1/runtime/connectors/<str:kind>/<str:name>"
_DELIVERY = "v1/deliveries/<str:delivery_id>"

inbound = [
    path("v1/runtime/connectors", connectors.Connectors.as_view()),
    path("v1/runtime/connectors/reload", connectors.Reload.as_view()),
    path(_ONE, connectors.OneConnector.as_view()),
    path(f"{_ONE}/pause", connectors.Pause.as_view()),
    path(f"{_ONE}/resume", connectors.Resume.as_view()),
    path(f"{_ONE}/enable", connectors.Enable.as_view()),
    path(f"{_ONE}/disable", connectors.Disable.as_view()),
    path(f"{_ONE}/test", connectors.TestEvent.as_view()),
]
outbound = [
    path("v1/deliveries", deliveries.Deliveries.as_view()),
    path("v1/deliveries/dead-letter", deliveries.DeadLetters.as_view()),
    path("v1/deliveries/replay-bulk", deliveries.BulkReplay.as_view()),
    path("v1/deliveries/backpressure/reset", deliveries.BackpressureReset.as_view()),
    path(_DELIVERY, deliveries.OneDelivery.as_view()),
    path(f"{_DELIVERY}/replay", deliveries.DeliveryReplay.as_view()),
    path(f"{_DELIVERY}/resolve", deliveries.DeliveryResolve.as_view()),
    path(f"{_DELIVERY}/decide", deliveries.DeliveryDecide.as_view()),
    path("v1/delivery-targets", deliveries.Targets.as_view()),
    path("v1/delivery-targets/<str:digest>/pause", deliveries.TargetPause.as_view()),
    path("v1/delivery-targets/<str:digest>/resume", deliveries.TargetResume.as_view()),
    path("v1/runtime/deliveries/metrics", deliveries.Metrics.as_view()),
]

urlpatterns = [*inbound, *urls_identities.urlpatterns, *outbound, *observations.urlpatterns]

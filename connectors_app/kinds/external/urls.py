"""Addresses of external connectors."""

from django.urls import path

from connectors_app.kinds.external import operators, views

_ONE = "v1/connectors/external/<str:name>"

urlpatterns = [
    path(f"{_ONE}/events", views.Events.as_view()),
    path(f"{_ONE}/events/batch", views.EventBatch.as_view()),
    path(f"{_ONE}/credentials/<str:env_key>", views.Credential.as_view()),
    path(
        f"{_ONE}/deliveries/<str:delivery_id>/assets/<str:asset_id>/raw",
        views.DeliveryAsset.as_view(),
    ),
    path("v1/runtime/connectors/external/metrics", operators.Metrics.as_view()),
    path("v1/runtime/connectors/external/<str:name>/sidecar", operators.Sidecar.as_view()),
]

"""Every address of the connectors: the control plane's, and the ways in of each kind."""

from django.urls import path

from connectors_app.api import connectors
from connectors_app.kinds.external import urls as external
from connectors_app.kinds.http import urls as http

_ONE = "v1/runtime/connectors/<str:kind>/<str:name>"

control = [
    path("v1/runtime/connectors", connectors.Connectors.as_view()),
    path("v1/runtime/connectors/reload", connectors.Reload.as_view()),
    path(_ONE, connectors.OneConnector.as_view()),
    path(f"{_ONE}/pause", connectors.Pause.as_view()),
    path(f"{_ONE}/resume", connectors.Resume.as_view()),
    path(f"{_ONE}/enable", connectors.Enable.as_view()),
    path(f"{_ONE}/disable", connectors.Disable.as_view()),
    path(f"{_ONE}/test", connectors.TestEvent.as_view()),
]

urlpatterns = [*external.urlpatterns, *control, *http.urlpatterns]

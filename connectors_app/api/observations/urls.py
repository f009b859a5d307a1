"""Addresses of captures."""

from django.urls import path

from connectors_app.api.observations import runs, sources, uploads

_SOURCE = "v1/observation-sources/<str:source_id>"

urlpatterns = [
    path("v1/observation-sources", sources.Sources.as_view()),
    path(_SOURCE, sources.OneSource.as_view()),
    path(f"{_SOURCE}/rotate-token", sources.RotateToken.as_view()),
    path(f"{_SOURCE}/revoke-token", sources.RevokeToken.as_view()),
    path(f"{_SOURCE}/observations", uploads.Observations.as_view()),
    path(f"{_SOURCE}/schedules", sources.Schedules.as_view()),
    path(f"{_SOURCE}/schedules/<str:schedule_id>", sources.OneSchedule.as_view()),
    path("v1/observations/materialize", runs.Materialize.as_view()),
    path("v1/observations/<str:observation_id>", uploads.OneObservation.as_view()),
]

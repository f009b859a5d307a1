"""Addresses of the people of a connector."""

from django.urls import path

from connectors_app.api import identities

_PEOPLE = "v1/runtime/connectors/<str:kind>/<str:name>/identities"

urlpatterns = [
    path(_PEOPLE, identities.Identities.as_view()),
    path(f"{_PEOPLE}/<str:external_id>", identities.OneIdentity.as_view()),
]

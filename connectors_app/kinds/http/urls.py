"""Addresses of HTTP connectors."""

from django.urls import path

from connectors_app.kinds.http.views import HttpIngress

urlpatterns = [path("v1/connectors/http/<str:name>", HttpIngress.as_view())]

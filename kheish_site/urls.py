"""Every address of the service."""

from django.contrib import admin
from django.urls import path

from kheish_site.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("admin/", admin.site.urls),
]

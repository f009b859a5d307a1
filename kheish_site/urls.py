"""Every address of the service."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from kheish_site.health import healthz, readyz

admin.autodiscover()

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("favicon.ico", RedirectView.as_view(url=static("kheish/favicon.svg"))),
    path("admin/", admin.site.urls),
    path("", include("sessions_app.streams.urls")),
    path("", include("connectors_app.urls")),
    path("", include("sessions_app.api.urls")),  # the last: it answers every unknown path under /v1/
]
handler400 = "sessions_app.api.problems.bad_request"
handler500 = "sessions_app.api.problems.server_error"

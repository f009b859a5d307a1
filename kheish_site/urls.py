"""Every address of the service."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from kheish_site.health import healthz, readyz

admin.autodiscover()

from sessions_app.admin import login  # noqa: E402  (its forms need the registry, as the pages do)

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("favicon.ico", RedirectView.as_view(url=static("kheish/favicon.svg"))),
    path("admin/second-factor/", admin.site.admin_view(login.page), name="second-factor"),
    path("admin/", admin.site.urls),
    path("", include("sessions_app.streams.urls")),
    path("", include("connectors_app.urls")),
    path("", include("sessions_app.api.urls")),  # the last: it answers every unknown path under /v1/
]
handler400 = "sessions_app.api.problems.bad_request"
handler500 = "sessions_app.api.problems.server_error"

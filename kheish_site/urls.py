"""Every address of the service."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import path, reverse_lazy
from django.views.generic import RedirectView

from connectors_app import urls as connectors
from kheish_site.health import healthz, readyz
from kheish_site.lib.addresses import by_noun
from sessions_app.api import urls as api
from sessions_app.streams import urls as streams

admin.autodiscover()

from sessions_app.admin import login  # noqa: E402  (its forms need the registry, as the pages do)

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz),
    path("favicon.ico", RedirectView.as_view(url=static("kheish/favicon.svg"))),
    path("admin/second-factor/", admin.site.admin_view(login.page), name="second-factor"),
    path("admin/", admin.site.urls),
    *by_noun([*streams.urlpatterns, *connectors.urlpatterns, *api.urlpatterns]),
    path("", RedirectView.as_view(url=reverse_lazy("admin:index"))),
]
handler400 = "sessions_app.api.problems.bad_request"
handler500 = "sessions_app.api.problems.server_error"

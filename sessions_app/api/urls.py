"""Every address under ``/v1/``, and the documentation. Streams have their own module."""

from django.urls import path, re_path

from sessions_app.api import urls_configuration, urls_runtime
from sessions_app.api.views import documents
from sessions_app.api.views.fallback import UnknownPath

beside = [
    path("docs/", documents.Documentation.as_view(), name="docs"),
]
unknown = [re_path(r"\Av1(?:/[\s\S]*)?\Z", UnknownPath.as_view())]  # also across line breaks

urlpatterns = [*beside, *urls_configuration.urlpatterns, *urls_runtime.urlpatterns, *unknown]

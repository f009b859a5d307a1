"""The console's site: Django's admin with pages of our own beside its tables.

Modules register their pages here when they are imported, so that the apps above the core add theirs too.
It stands outside of them: the admin makes its site when the first of them registers a table.
"""

from collections.abc import Callable
from functools import update_wrapper, wraps
from typing import Any, Final, cast

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse

from kheish_site.lib.errors import NotFound

View = Callable[..., HttpResponseBase]
LATE: Final = "Your login had ended, so nothing was done. Sign in and send it again."


class ConsoleSite(admin.AdminSite):
    """One look, one navigation, and pages that are no tables."""

    site_header = site_title = "Kheish"
    index_title = "Operations"
    index_template = "sessions_app/admin/home.html"
    site_url = None
    empty_value_display = "–"  # noqa: RUF001 (a dash that reads as "none")

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self._pages: list[tuple[str, str, View]] = []
        self.home: Callable[[HttpRequest], dict[str, Any]] = lambda request: {}

    def page(self, route: str, name: str, view: View) -> None:
        """Add a page under ``admin/``; only signed-in staff reach ``view``. What it misses is a 404."""
        self._pages.append((route, name, _found(view)))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Put our pages before the admin's."""
        ours = [path(route, self.admin_view(view), name=name) for route, name, view in self._pages]
        return [*ours, *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Tell whoever sends a form after the login ended that nothing was done."""
        guarded = super().admin_view(view, cacheable)

        def inner(request: HttpRequest, *given: Any, **named: Any) -> HttpResponseBase:
            answer = guarded(request, *given, **named)
            sent_away = isinstance(answer, HttpResponseRedirect) and not self.has_permission(request)
            if request.method == "POST" and sent_away and answer.url.startswith(reverse("admin:login")):
                messages.warning(request, LATE)
            return answer

        return update_wrapper(inner, guarded)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Add what the frame of every page shows."""
        return super().each_context(request) | {"console_environment": settings.KHEISH.environment}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The first page."""
        return super().index(request, {**self.home(request), **(extra_context or {})})


def _found(view: View) -> View:
    @wraps(view)
    def guarded(*given: Any, **named: Any) -> HttpResponseBase:
        try:
            return view(*given, **named)
        except NotFound as missing:
            raise Http404(missing.detail) from missing

    return guarded


def site() -> ConsoleSite:
    """Return the one site there is."""
    return cast(ConsoleSite, admin.site)

"""The console's site: Django's admin with pages of our own beside its tables.

Modules register their pages here when they are imported, so that the apps above the core add theirs too. It
is outside all apps, because the admin makes its site when the first of them registers a table.
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
    """The admin site with our look and with pages that show no table."""

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
        """Add a page under ``admin/`` for signed-in staff; a NotFound from ``view`` becomes a 404."""
        self._pages.append((route, name, _answering_404(view)))

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Put our pages before the admin's."""
        ours = [path(route, self.admin_view(view), name=name) for route, name, view in self._pages]
        return [*ours, *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Wrap a view so that a form sent after the login ended is answered: nothing was done."""
        guarded = super().admin_view(view, cacheable)

        def inner(request: HttpRequest, *given: Any, **named: Any) -> HttpResponseBase:
            answer = guarded(request, *given, **named)
            redirected = isinstance(answer, HttpResponseRedirect) and not self.has_permission(request)
            if request.method == "POST" and redirected and answer.url.startswith(reverse("admin:login")):
                messages.warning(request, LATE)
            return answer

        return update_wrapper(inner, guarded)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Add what the frame of every page shows."""
        return super().each_context(request) | {"console_environment": settings.KHEISH.environment}

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The first page."""
        return super().index(request, {**self.home(request), **(extra_context or {})})


def _answering_404(view: View) -> View:
    @wraps(view)
    def guarded(*given: Any, **named: Any) -> HttpResponseBase:
        try:
            return view(*given, **named)
        except NotFound as missing:
            raise Http404(missing.detail) from missing

    return guarded


def site() -> ConsoleSite:
    """Return the console's only site."""
    return cast(ConsoleSite, admin.site)

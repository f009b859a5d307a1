"""How the installation is: the same status that the API and the command line show, with its warnings."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from kheish_site.console.site import site
from sessions_app.admin import addresses, home, permits, show
from sessions_app.models import Worker
from sessions_app.services import status


def health_view(request: HttpRequest) -> HttpResponse:
    """Warnings first, then who works and what the service is set to."""
    permits.require_view(request)
    view = status.status()
    context = {
        **site().each_context(request),
        "title": "Health",
        "console_live": "swap",
        "console_badge": show.badge("draining" if not view["ready"] else "ok"),
        "console_warnings": view["health"]["warnings"],
        "console_workers": home.workers(list(Worker.objects.heard()[:50])),
        "console_workers_url": addresses.of_list(Worker),
        "console_facts": _facts(view),
        "console_runs": [(show.badge(name), number) for name, number in view["runs"].items()],
    }
    return TemplateResponse(request, "sessions_app/admin/health.html", context)


def _facts(view: dict[str, Any]) -> list[tuple[str, Any]]:
    runtime, provider = view["runtime"], view["provider_readiness"]
    return [
        ("Version", view["version"]),
        ("Profile", view["profile"]),
        ("Up", show.span(view["uptime_seconds"])),
        ("Default route", runtime["default_route"] or show.NOTHING),
        ("Model", runtime["model"] or show.NOTHING),
        ("Route is ready", "; ".join(provider["problems"]) or "yes"),
        ("Permission mode", runtime["permission_mode"]),
        ("Live settings", f"r{runtime['revision']}"),
    ]


site().page("health/", "console_health", health_view)

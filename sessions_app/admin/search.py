"""The box at the top: a whole id jumps to its page, a beginning lists what has it."""

from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from kheish_site.console.site import site
from sessions_app.admin import inbox, permits, show
from sessions_app.models import JournalEntry, Run, Session
from sessions_app.services import runs

SHOWN: Final = 20


def search_view(request: HttpRequest) -> HttpResponse:
    """Answer ``?q=``."""
    permits.require_view(request)
    asked = request.GET.get("q", "").strip()[:200]
    there = _jump(asked) if asked else ""
    if there:
        return HttpResponseRedirect(there)
    sessions = (
        Session.objects.filter(session_id__startswith=asked).order_by("session_id")[:SHOWN] if asked else ()
    )
    found = list(sessions)
    of_them = Run.objects.filter(session__in=found).select_related("session").order_by("-pk")[:SHOWN]
    context = {
        **site().each_context(request),
        "title": f"Search: {asked}" if asked else "Search",
        "console_query": asked,
        "console_sessions": [(row, show.change_url(row)) for row in found],
        "console_runs": [_line(run) for run in of_them] if found else [],
    }
    return TemplateResponse(request, "sessions_app/admin/search.html", context)


def _line(run: Run) -> dict[str, Any]:
    return {
        "run": run,
        "badge": show.badge(run.status),
        "url": show.change_url(run),
        "text": show.redact(runs.text_preview(run)) or run.run_id,
        "when": show.age(run.submitted_at),
    }


def _jump(asked: str) -> str:
    """Return the page of the one thing that has this id, or ""."""
    run = Run.objects.filter(run_id=asked).first()
    if run is not None:
        return show.change_url(run)
    if inbox.knows(asked):
        return reverse("admin:console_inbox_item", args=[asked])
    session = Session.objects.filter(session_id=asked).first()
    return show.change_url(session) if session is not None else ""


def event_view(request: HttpRequest, pk: int) -> HttpResponse:
    """The payload of one entry: asked for when somebody opens it; without scripts a page of its own."""
    permits.require_view(request)
    entry = JournalEntry.objects.select_related("session").filter(pk=pk).first()
    if entry is None:
        raise Http404("no such entry")
    if request.headers.get("X-Console") != "part":
        return HttpResponseRedirect(show.change_url(entry))
    context = {"entry": entry, "payload": show.json_block(entry.payload), "url": show.change_url(entry)}
    return TemplateResponse(request, "sessions_app/admin/_event_payload.html", context)


site().page("search/", "console_search", search_view)
site().page("events/<int:pk>/", "console_event", event_view)

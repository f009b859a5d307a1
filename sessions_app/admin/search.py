"""The box at the top: a whole id jumps to its page, anything else lists what has it."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from kheish_site.console.site import site
from sessions_app.admin import addresses, inbox, permits, show
from sessions_app.admin.caller import principal
from sessions_app.models import JournalEntry
from sessions_app.services import search
from sessions_app.services.ports import Hit


def search_view(request: HttpRequest) -> HttpResponse:
    """Answer ``?q=``."""
    permits.require_view(request)
    asked = request.GET.get("q", "").strip()[: search.LONGEST]
    if asked and inbox.knows(asked):
        return HttpResponseRedirect(reverse("admin:console_inbox_item", args=[asked]))
    found = search.search(asked, principal=principal(request)) if asked else search.Found(query="")
    there = addresses.of_id(found.jump.kind, found.jump.item_id) if found.jump is not None else ""
    if there:
        return HttpResponseRedirect(there)
    context = {
        **site().each_context(request),
        "title": f"Search: {asked}" if asked else "Search",
        "console_query": asked,
        "console_hits": [_line(hit) for hit in found.items],
        "console_more": found.more,
        "console_window": search.WINDOW,
    }
    return TemplateResponse(request, "sessions_app/admin/search.html", context)


def _line(hit: Hit) -> dict[str, Any]:
    """Return a hit as its line shows it; what was found in text is masked like everything else."""
    return {
        "url": addresses.of_id(hit.kind, hit.item_id) or addresses.of_id("run", hit.run_id),
        "kind": hit.kind.replace("_", " "),
        "id": hit.item_id,
        "by": "" if hit.by in ("id", "text") else hit.by.replace("_", " "),
        "text": show.redact(hit.excerpt),
        "when": show.age(hit.at) if hit.at is not None else "",
    }


def event_view(request: HttpRequest, pk: int) -> HttpResponse:
    """The payload of one entry: asked for when somebody opens it; without scripts a page of its own."""
    permits.require_view(request)
    entry = JournalEntry.objects.select_related("session").filter(pk=pk).first()
    if entry is None:
        raise Http404("no such entry")
    if request.headers.get("X-Console") != "part":
        return HttpResponseRedirect(addresses.of(entry))
    context = {"entry": entry, "payload": show.json_block(entry.payload), "url": addresses.of(entry)}
    return TemplateResponse(request, "sessions_app/admin/_event_payload.html", context)


site().page("search/", "console_search", search_view)
site().page("events/<int:pk>/", "console_event", event_view)

"""The inbox: everything that waits for a person, in one list, decided on one page.

A source brings one kind of row. The core has three (``inbox_sources``), connectors add deliveries.
The deeds are the verbs of the row's own page: there is one door for each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.db.models import Model
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from kheish_site.console.site import site
from kheish_site.lib import clock
from kheish_site.lib.errors import KheishError
from sessions_app.admin import addresses, permits
from sessions_app.admin.caller import principal
from sessions_app.admin.verb_pages import done_words, problem
from sessions_app.admin.verbs import Verb, perform, reason_mark
from sessions_app.models import JournalEntry

MOST: Final = 100
"""Items the list shows; the rest comes up as these are decided."""
DRAWING: Final = timedelta(seconds=5)
"""How long a page may take from its first query until it is drawn."""
RANK: Final = {"high": 0, "medium": 1, "low": 2, "": 3}
TEMPLATE: Final = "sessions_app/admin/inbox.html"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One line of the list. ``of_run`` groups what one run waits for together (a wave)."""

    key: str
    what: str
    gist: str
    risk: str
    session_id: str
    of_run: str
    asked_at: datetime
    expires_at: datetime | None = None
    icon: str = "hand"
    wave: tuple[int, int] = (1, 1)

    @property
    def url(self) -> str:
        """The address where it is decided."""
        return reverse("admin:console_inbox_item", args=[self.key])


@dataclass(frozen=True, kw_only=True)
class Settled:
    """How something ended that no longer waits."""

    word: str
    who: str
    at: datetime | None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One kind of thing that waits for people. ``count`` and ``items`` cost a fixed number of queries."""

    prefix: str
    noun: str
    model: type[Model]
    template: str
    count: Callable[[], int]
    items: Callable[[int], list[Item]]
    settled: Callable[[Any], Settled | None]
    pane: Callable[[HttpRequest, Any], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """How much waits, by noun ("to approve")."""

    numbers: Sequence[tuple[str, int]]

    @property
    def total(self) -> int:
        """The number of all items."""
        return sum(number for _, number in self.numbers)

    @property
    def words(self) -> str:
        """``2 to approve, 1 to answer``."""
        return ", ".join(f"{number} {noun}" for noun, number in self.numbers if number)


_SOURCES: Final[list[Source]] = []


def add(source: Source) -> None:
    """Add ``source`` to the inbox."""
    _SOURCES.append(source)


def waiting() -> Waiting:
    """Count what waits: a query a source, over partial indexes."""
    return Waiting(numbers=[(source.noun, source.count()) for source in _SOURCES])


def waiting_for(request: HttpRequest) -> Waiting:
    """Count once a request; nothing for people who may not look."""
    known: Waiting | None = getattr(request, "console_waiting", None)
    if known is None:
        known = waiting() if principal(request).can_view else Waiting(numbers=())
        request.console_waiting = known  # type: ignore[attr-defined]
    return known


def items(limit: int = MOST) -> list[Item]:
    """Return what waits: the soonest to expire first, then the riskiest, then the oldest."""
    waiting_items = [item for source in _SOURCES for item in source.items(limit)]
    far = clock.now().replace(year=9999)
    waiting_items.sort(key=lambda item: (item.expires_at or far, RANK[item.risk], item.asked_at))
    return _waves(waiting_items)[:limit]


def _waves(items: list[Item]) -> list[Item]:
    """Bring together the items that one run waits for, behind the first of them."""
    by_run: dict[str, list[Item]] = {}
    for item in items:
        by_run.setdefault(item.of_run or item.key, []).append(item)
    return [
        Item(**{**vars(item), "wave": (number, len(wave))})
        for wave in by_run.values()
        for number, item in enumerate(wave, start=1)
    ]


def inbox_view(request: HttpRequest, key: str = "") -> HttpResponse:
    """The list, and one thing of it with all that a decision needs."""
    permits.require_view(request)
    if not key:
        return _page(request, items(), "", {})
    source, row = _find(key)
    if request.method == "POST":
        return _decide(request, source, row, key)
    return _show(request, source, row, key)


def counts_view(request: HttpRequest) -> HttpResponse:
    """Answer the badges: ``{"waiting": 6}``; with ``?since=`` also whether anything ``moved`` since."""
    permits.require_view(request)
    counts: dict[str, Any] = {"waiting": waiting().total}
    if "since" in request.GET:
        counts["moved"] = _moved_since(request.GET["since"])
    return JsonResponse(counts, headers={"Cache-Control": "no-store"})


def _moved_since(text: str) -> bool:
    """Tell whether the journal grew after a page was drawn, or while it was; true when in doubt."""
    last = JournalEntry.objects.order_by("-pk").values_list("at", flat=True).first()
    try:
        return last is not None and last >= datetime.fromisoformat(text) - DRAWING
    except (ValueError, TypeError, OverflowError):
        return True


def knows(key: str) -> bool:
    """Tell whether something of this id waits, or waited."""
    try:
        _find(key)
    except Http404:
        return False
    return True


def _find(key: str) -> tuple[Source, Any]:
    for source in _SOURCES:
        if key.startswith(source.prefix):
            field = admin.site.get_model_admin(source.model).public_id  # type: ignore[attr-defined]
            row = source.model._default_manager.filter(**{field: key}).first()
            if row is not None:
                return source, row
    raise Http404("nothing of that name waits, or ever waited")


def _decide(request: HttpRequest, source: Source, row: Any, key: str) -> HttpResponse:
    """Do one verb to ``row``; a refusal appears on the same page, which keeps the person's input."""
    page: Any = admin.site.get_model_admin(source.model)
    verb = next((verb for verb in page.verbs if verb.name == request.POST.get("verb")), None)
    if verb is None:
        raise Http404("no such verb")
    permits.require(request, verb, row)
    if request.POST.get("others"):
        return _decide_all(request, source, row, verb, key)
    form = verb.form_class(row)(request.POST)
    if not form.is_valid():
        return _show(request, source, row, key, form=form, verb=verb, status=422)
    try:
        cleaned = {**form.cleaned_data, "seen": request.POST.get("seen", "")}
        outcome = verb.do(row, cleaned, principal(request))
    except KheishError as refusal:
        row.refresh_from_db()
        form.add_error(None, problem(refusal))
        return _show(request, source, row, key, form=form, verb=verb, status=refusal.status)
    messages.success(request, f"{done_words(verb, outcome)}: {source.pane(request, row)['console_name']}.")
    return HttpResponseRedirect(_next_url(key))


def _decide_all(request: HttpRequest, source: Source, row: Any, verb: Verb, key: str) -> HttpResponse:
    """Do ``verb`` to several rows of one kind that the page has shown whole, each with its own seal."""
    page: Any = admin.site.get_model_admin(source.model)
    form = verb.form_class(None)(request.POST)
    if not form.is_valid():
        return _show(request, source, row, key, form=form, verb=verb, status=422)
    seals = {name[5:]: str(value) for name, value in request.POST.items() if name.startswith("seal-")}
    chosen = [name for name in request.POST.getlist("others") if name in seals]
    rows = list(page.model._default_manager.filter(**{f"{page.public_id}__in": chosen}))
    tally = perform(
        verb,
        rows,
        form.cleaned_data,
        principal(request),
        {row.pk: seals[getattr(row, page.public_id)] for row in rows},
    )
    messages.add_message(request, tally.level, str(tally) or "Nothing was chosen")
    return HttpResponseRedirect(_next_url(key))


def _next_url(key: str) -> str:
    """Return where the next thing of the list is decided, or the empty list."""
    left = [item for item in items() if item.key != key]
    return left[0].url if left else reverse("admin:console_inbox")


def _show(
    request: HttpRequest,
    source: Source,
    row: Any,
    key: str,
    *,
    form: Form | None = None,
    verb: Verb | None = None,
    status: int = 200,
) -> HttpResponse:
    page: Any = admin.site.get_model_admin(source.model)
    settled = source.settled(row)
    offered = [] if settled else [offer for offer in page.verbs if offer.applies(row)]
    allowed = {offer.name: offer for offer in offered if permits.may(request, offer, row)}
    context = {
        "console_pane": source.template,
        "console_key": key,
        "row": row,
        "console_settled": settled,
        "console_verbs": allowed,
        "console_reason": reason_mark(allowed.values(), row),
        "console_reasonless": {name for name, offer in allowed.items() if not offer.wants_reason(row)},
        "console_refusal": next(
            (words for offer in offered if (words := permits.refusal(request, offer, row))), ""
        ),
        "console_form": form,
        "console_tried": verb,
        "console_whole_url": addresses.of(row),
        **source.pane(request, row),
    }
    return _page(request, items(), key, context, status=status)


def _page(
    request: HttpRequest, found: list[Item], key: str, pane: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    if not key and found:
        return _first_of(request, found)
    context = {
        **site().each_context(request),
        "title": "Inbox",
        "console_items": found,
        "console_total": waiting_for(request).total,
        "console_live": "swap",
        **pane,
    }
    return TemplateResponse(request, TEMPLATE, context, status=status)


def _first_of(request: HttpRequest, found: list[Item]) -> HttpResponse:
    """Show the first item beside the list, at the list's own address."""
    source, row = _find(found[0].key)
    return _show(request, source, row, found[0].key)


site().page("inbox/", "console_inbox", inbox_view)
site().page("inbox/<str:key>/", "console_inbox_item", inbox_view)
site().page("counts/", "console_counts", counts_view)

"""The page of one run: its state, where its time went, and one journal from the first event to the last.

The page's first paint and its live lines come from the same projection and the same template. Opening it
costs the same whether the run has ten entries or ten thousand.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from kheish_site.console.site import site
from kheish_site.lib import clock
from sessions_app.admin import addresses, charts, permits, show, timeline
from sessions_app.admin.caller import principal
from sessions_app.admin.charts import Span
from sessions_app.models import (
    LIVE,
    JournalEntry,
    Right,
    Run,
    RunStatus,
    Step,
    ToolCall,
)
from sessions_app.services import runs, why
from sessions_app.services.projections.runs import run_rows
from sessions_app.services.projections.shape import call_summary

SHOWN: Final = 200
"""Entries on the page; older ones come when they are asked for."""
MOST_PIECES: Final = 300
"""Model calls and tools drawn as bars, the newest ones."""
OTHERS: Final = 8
_OF_CALLS: Final = frozenset({"tool.started", "tool.returned"})
_CAUSES: Final = {
    "approval": "Review in inbox",
    "question": "Answer in inbox",
    "decision": "Decide in inbox",
    "run": "Open that run",
}
_STATES: Final = {
    "run.accepted": "queued",
    "run.queued": "queued",
    "run.resumed": "queued",
    "run.started": "worked",
    "run.recovered": "worked",
    "run.waiting": "waited",
}
_LEGEND: Final = {
    "queued": "in the queue",
    "worked": "working",
    "waited": "waiting for a person",
    "model": "model",
    "tool": "tools",
}
TEMPLATE: Final = "sessions_app/admin/run.html"


def context(request: HttpRequest, run: Run) -> dict[str, Any]:
    """Return what the page shows of ``run``; with ``?part=facts`` all but the journal, for refreshing."""
    whole = Run.objects.select_related("session", "persona__persona").get(pk=run.pk)
    entries = [] if request.GET.get("part") == "facts" else _page(run, request)
    return {
        "console_live": "run",
        "run": whole,
        "console_badge": show.badge(run.status),
        "console_over": run.status not in LIVE,
        "console_lines": _lines(run, entries),
        "console_first": entries[0].seq if entries and _has_earlier(run, entries[0].seq) else 0,
        "console_last": entries[-1].seq if entries else 0,
        "console_stream": reverse("run-stream", args=[run.run_id]),
        "console_lines_url": reverse("admin:console_run_lines", args=[run.run_id]),
        "console_why": _why(whole),
        "console_groups": ("tools", "model", "people", "errors"),
        "console_page": SHOWN,
        "console_failure": _failure(run),
        "console_bars": _bars(run),
        "console_facts": _facts(whole),
        "console_task": show.block(str(whole.input_message.get("content", "")), limit=4_000),
        "console_others": _others(run),
        "console_session_url": addresses.of(whole.session),
        "console_events_url": f"{reverse('run', args=[run.run_id])}/events",
        "console_export_url": reverse("run-export", args=[run.run_id]),
        "console_may_unmask": principal(request).may(Right.VIEW_UNREDACTED),
    }


def lines_view(request: HttpRequest, run_id: str) -> HttpResponse:
    """The lines after ``?after=``, as the page shows them; at most ``SHOWN``, the next call has the rest."""
    permits.require_view(request)
    run = Run.objects.filter(run_id=run_id).first()
    if run is None:
        raise Http404("no such run")
    after = request.GET.get("after", "")
    rows = JournalEntry.objects.filter(run_id=run.pk, seq__gt=int(after) if after.isdecimal() else 0)
    entries = list(rows.order_by("seq")[:SHOWN])
    return TemplateResponse(request, "sessions_app/admin/_lines.html", {"lines": _lines(run, entries)})


def _page(run: Run, request: HttpRequest) -> list[JournalEntry]:
    """Return the newest entries, or those before ``?before=``, oldest first."""
    rows = JournalEntry.objects.filter(run_id=run.pk).order_by("-seq")
    before = request.GET.get("before", "")
    if before.isdecimal():
        rows = rows.filter(seq__lt=int(before))
    return list(reversed(rows[:SHOWN]))


def _has_earlier(run: Run, seq: int) -> bool:
    return JournalEntry.objects.filter(run_id=run.pk, seq__lt=seq).exists()


def _lines(run: Run, entries: Sequence[JournalEntry]) -> list[timeline.Line]:
    if not entries:
        return []
    before = JournalEntry.objects.filter(run_id=run.pk, seq__lt=entries[0].seq, kind="message.created")
    last = before.order_by("-seq").values_list("payload", flat=True).first() or {}
    ids = {str(entry.payload.get("call_id")) for entry in entries if entry.kind in _OF_CALLS}
    rows = ToolCall.objects.filter(run=run, call_id__in=ids).values_list(
        "call_id", "tool_name", "arguments", "started_at", "finished_at"
    )
    calls = {
        call_id: timeline.Called(
            summary=call_summary(name, arguments),
            seconds=(finished - started).total_seconds() if started and finished else None,
        )
        for call_id, name, arguments, started, finished in rows
    }
    return timeline.lines(entries, step=int(last.get("step") or 0), calls=calls)


def _why(run: Run) -> dict[str, Any]:
    """Return why the run does not move, with where to go about each thing it waits for."""
    answer = why.of_all([run])[run.pk]
    if answer.state != "waiting":
        return {"said": "", "moving": answer.sentence if answer.state == "moving" else "", "causes": []}
    causes = [
        {"url": _cause_url(cause.kind, cause.item_id), "words": _CAUSES[cause.kind]}
        for cause in answer.because
        if cause.kind in _CAUSES
    ]
    return {"said": answer.sentence, "moving": "", "causes": causes[:3]}


def _cause_url(kind: str, item_id: str) -> str:
    if kind == "run":
        return reverse("admin:sessions_app_run_change", args=[item_id])
    return reverse("admin:console_inbox_item", args=[item_id])


def _failure(run: Run) -> dict[str, Any]:
    """Return in words why the run ended badly, and the entry that says so."""
    if run.status != RunStatus.FAILED and not run.error:
        return {}
    said = show.redact(run.error)
    entry = (
        JournalEntry.objects.filter(run_id=run.pk, kind__in=[f"run.{run.status}"]).order_by("-seq").first()
    )
    return {
        "words": said.get("message") or said.get("code") or run.status,
        "code": said.get("code") or "",
        "seq": entry.seq if entry else 0,
    }


def _bars(run: Run) -> dict[str, Any]:
    """Return where the time went: the run's own states above, model calls and tools below."""
    now = clock.now()
    end = run.finished_at or now
    pieces = [*_states(run, end), *_steps(run, now), *_calls(run, now)]
    sums = {kind: sum(p.end - p.begin for p in pieces if p.kind == kind) for kind in _LEGEND}
    return {
        "picture": charts.spans(pieces, lanes=3),
        "squeezed": charts.is_squeezed(pieces),
        "legend": [(kind, words, show.took(sums[kind])) for kind, words in _LEGEND.items() if sums[kind]],
    }


def _states(run: Run, end: datetime) -> list[Span]:
    rows = JournalEntry.objects.filter(run_id=run.pk, kind__in=_STATES).order_by("seq")
    moments = [(_STATES[kind], at) for kind, at in rows.values_list("kind", "at")]
    found = []
    for number, (kind, begin) in enumerate(moments):
        until = moments[number + 1][1] if number + 1 < len(moments) else end
        found.append(_span(run, kind, begin, until, _LEGEND[kind], lane=0))
    return found


def _steps(run: Run, now: datetime) -> list[Span]:
    rows = Step.objects.filter(run=run).order_by("-number")[:MOST_PIECES]
    return [
        _span(run, "model", begin, end or now, f"model call {number}", lane=1)
        for number, begin, end in rows.values_list("number", "started_at", "finished_at")
    ]


def _calls(run: Run, now: datetime) -> list[Span]:
    rows = ToolCall.objects.filter(run=run, started_at__isnull=False).order_by("-pk")[:MOST_PIECES]
    return [
        _span(run, "tool", begin or now, end or now, name, lane=2)
        for name, begin, end in rows.values_list("tool_name", "started_at", "finished_at")
    ]


def _span(run: Run, kind: str, begin: datetime, end: datetime, words: str, *, lane: int) -> Span:
    started, ended = (max((moment - run.submitted_at).total_seconds(), 0) for moment in (begin, end))
    return Span(
        kind=kind,
        begin=started,
        end=max(started, ended),
        lane=lane,
        words=f"{words}: {show.took(max(ended - started, 0))}",
    )


def _facts(run: Run) -> list[tuple[str, Any]]:
    persona, model = run.persona, "" if run.model in ("", run.route_id) else f" · {run.model}"
    bound = (
        show.link(persona, f"{persona.persona.persona_id} r{persona.revision}") if persona else show.NOTHING
    )
    facts: list[tuple[str, Any]] = [
        ("Session", show.link(run.session, run.session.session_id)),
        ("Persona", bound),
        ("Route", f"{run.route_id}{model}"),
        ("Asked by", run.requested_by or run.actor_id),
        ("Through", f"{run.source_plugin} / {run.source_kind}"),
        ("Permissions", run.permission_mode),
        ("Tokens", f"{run.input_tokens:,} → {run.output_tokens:,}"),
        ("Submitted", show.age(run.submitted_at)),
        ("Started", show.age(run.started_at)),
        ("Finished", show.age(run.finished_at)),
        ("Took", show.lasted(run.submitted_at, run.finished_at)),
    ]
    if run.recovered_count:
        facts.append(("Recovered", f"{run.recovered_count}×"))  # noqa: RUF001
    return facts


def _others(run: Run) -> list[dict[str, Any]]:
    rows = run_rows().filter(session_id=run.session_id).order_by("-pk")[:OTHERS]
    return [
        {
            "run": other,
            "here": other.pk == run.pk,
            "badge": show.badge(other.status),
            "url": addresses.of(other),
            "text": show.redact(runs.text_preview(other)),
            "when": show.age(other.submitted_at),
        }
        for other in rows
    ]


site().page("runs/<str:run_id>/lines/", "console_run_lines", lines_view)

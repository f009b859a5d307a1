"""The journal for people: what happened in words, step by step, its payload a click away.

``lines`` is the one projection: the run's page, what a stream announces, sections of other pages and
the inbox show the same line for the same entry.
"""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import SafeString

from kheish_site.cli.words import describe
from kheish_site.lib.visible import shortened
from sessions_app.admin import show
from sessions_app.admin.base import Section
from sessions_app.models import JournalEntry
from sessions_app.services.projections.shape import call_summary

SHOWN: Final = 40
GIST: Final = 240
"""Characters of one entry's words before they are cut; the payload has all of them."""
_NO_CALLS: Final[Mapping[str, "Called"]] = {}
_ID: Final = re.compile(r"\b(?:apr|qst|dec|task|call|ckpt)_[0-9A-Z]{26}:? ?")
_TONES: Final = {"amber": "wait", "red": "bad", "green": "good", "blue": "busy"}
_ICONS: Final = {
    "approval": "hand",
    "question": "question",
    "decision": "scale",
    "tool": "wrench",
    "task": "terminal",
    "model": "spark",
    "checkpoint": "layers",
    "todo": "list",
    "output": "send",
    "persona": "person",
    "session": "chat",
    "run": "play",
    "message": "chat",
}
_OWN_ICONS: Final = {
    "run.waiting": "hand",
    "run.completed": "check",
    "run.failed": "warn",
    "run.cancelled": "stop",
    "run.interrupted": "stop",
    "run.stop_requested": "stop",
    "run.recovered": "refresh",
    "run.disrupted": "warn",
    "run.accepted": "inbox",
    "run.queued": "clock",
    "approval.allowed": "check",
    "approval.denied": "stop",
    "approval.edited": "edit",
    "approval.expired": "clock",
    "question.answered": "check",
    "decision.made": "check",
    "tool.unknown": "question",
}
_QUIET: Final = frozenset({"tool.planned", "task.started", "task.finished", "run.accepted", "approval.voted"})
"""Kinds that the compact view leaves out: another line says the same in better words."""
GROUPS: Final = {
    "tools": ("tool.", "task."),
    "model": ("message.", "model.", "output.", "checkpoint.", "todo."),
    "people": ("approval.", "question.", "decision."),
    "run": ("run.", "session.", "persona."),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One entry as it is shown. ``step_begins`` is the number of the step whose first line this is, or 0."""

    seq: int
    at: datetime
    kind: str
    icon: str
    tone: str
    words: str
    more: str
    note: str
    group: str
    quiet: bool
    step_begins: int
    url: str


@dataclass(frozen=True, kw_only=True)
class Called:
    """What is known of a call beside its entries: the call in a line, and how long it took."""

    summary: str
    seconds: float | None


def lines(
    entries: Sequence[JournalEntry], *, step: int = 0, calls: Mapping[str, Called] = _NO_CALLS
) -> list[Line]:
    """Return what ``entries`` say, in their order; ``step`` is the one that was going on before them.

    ``calls`` has by call id what the entries of a call do not say themselves.
    """
    shown = []
    over = {entry.payload.get("call_id") for entry in entries if entry.kind == "tool.returned"}
    for entry in entries:
        payload = show.redact(entry.payload)
        begins = _step_of(entry.kind, payload)
        words, more = _words(entry.kind, payload, calls)
        shown.append(
            Line(
                seq=entry.seq,
                at=entry.at,
                kind=entry.kind,
                icon=_icon(entry.kind, payload),
                tone=_tone(entry.kind, payload),
                words=words,
                more=more,
                note=_note(entry.kind, payload, calls),
                group=next(name for name, kinds in _groups(entry.kind)),
                quiet=_is_quiet(entry.kind, payload, over),
                step_begins=begins if begins and begins != step else 0,
                url=reverse("admin:console_event", args=[entry.pk]),
            )
        )
        step = begins or step
    return shown


def _is_quiet(kind: str, payload: Mapping[str, Any], over: Container[Any]) -> bool:
    """Tell whether another line says the same: that a call is over, or the plan that a list of todos is."""
    if kind == "tool.returned":
        return payload.get("tool_name") == "todo_write" and not payload.get("is_error")
    return kind in _QUIET or (kind == "tool.started" and payload.get("call_id") in over)


def section(rows: Any, more: Any) -> Section:
    """Return the newest entries of ``rows``, with a link to all of them."""
    newest = list(rows.order_by("-seq")[:SHOWN])
    return Section(
        title="Journal, newest first",
        columns=(),
        rows=(),
        more=more,
        empty="Nothing is written down yet.",
        body=rendered(newest),
    )


def rendered(entries: Sequence[JournalEntry]) -> SafeString | str:
    """Return the lines as a list, or "" when there are none."""
    if not entries:
        return ""
    return render_to_string("sessions_app/admin/_timeline.html", {"lines": lines(entries)})


def told(entry: JournalEntry) -> SafeString:
    """Return one entry in words, its payload a click away."""
    return render_to_string("sessions_app/admin/_event_cell.html", {"line": lines([entry])[0]})


def _groups(kind: str) -> Iterable[tuple[str, tuple[str, ...]]]:
    yield from ((name, kinds) for name, kinds in GROUPS.items() if kind.startswith(kinds))
    yield "run", ()


def _step_of(kind: str, payload: Mapping[str, Any]) -> int:
    """Return the step an entry opens: the model's answer carries its number."""
    if kind in ("message.created", "tool.planned", "model.failed"):
        return int(payload.get("step") or 0)
    return 0


def _icon(kind: str, payload: Mapping[str, Any]) -> str:
    if kind == "message.created":
        return {"assistant": "spark", "user": "person", "tool": "wrench"}.get(
            str(payload.get("role")), "chat"
        )
    return _OWN_ICONS.get(kind) or _ICONS.get(kind.partition(".")[0], "dot")


def _tone(kind: str, payload: Mapping[str, Any]) -> str:
    if kind == "tool.returned":
        return "bad" if payload.get("is_error") else "good"
    if kind == "approval.denied":
        return "calm"  # somebody's decision is no failure
    return _TONES.get(describe({"kind": kind, "payload": payload})[2], "calm")


def _words(kind: str, payload: Mapping[str, Any], calls: Mapping[str, Called]) -> tuple[str, str]:
    """Return the line and what follows it; calls are told like everywhere else in the console."""
    if kind == "message.created":
        text = str(payload.get("content") or "").strip()
        return (shortened(text or _asks(payload), GIST), "")
    if isinstance(payload.get("input"), Mapping) and payload.get("tool_name"):
        call = call_summary(str(payload["tool_name"]), payload["input"])
        begun = {
            "tool.planned": "Plans",
            "approval.requested": "Asks to run",
            "decision.requested": "Did it happen?",
        }
        return (f"{begun.get(kind, kind)} {call}", "")
    if kind in ("tool.started", "tool.returned"):
        return _of_call(kind, payload, calls)
    if kind == "run.recovered":
        return ("Recovered: its worker was lost, another one goes on", "")
    if kind == "run.started":
        return (f"Claimed by {worker_name(payload['worker'])}" if payload.get("worker") else "Started", "")
    words = _ID.sub("", describe({"kind": kind, "payload": payload})[3])
    first, _, rest = words.partition("\n")
    first = " ".join(first.split())
    return (shortened(first[:1].upper() + first[1:] or kind, GIST), rest)


def _of_call(kind: str, payload: Mapping[str, Any], calls: Mapping[str, Called]) -> tuple[str, str]:
    known = calls.get(str(payload.get("call_id")))
    name = str(payload.get("tool_name", ""))
    if kind == "tool.started":
        return (f"Runs {known.summary if known else name}", "")
    content = shortened(" ".join(str(payload.get("content") or "").split()), GIST)
    if known:
        return (f"{'Failed: ' if payload.get('is_error') else ''}{known.summary}", content)
    return (f"{name} {'failed' if payload.get('is_error') else 'returned'}", content)


def _asks(payload: Mapping[str, Any]) -> str:
    names = [
        str(call.get("name", "")) for call in payload.get("tool_calls") or () if isinstance(call, Mapping)
    ]
    return f"Calls {', '.join(names)}" if names else "Says nothing"


def _note(kind: str, payload: Mapping[str, Any], calls: Mapping[str, Called]) -> str:
    """Return the short text at the end of the line: tokens, or how long it took."""
    if kind == "tool.returned":
        known = calls.get(str(payload.get("call_id")))
        return "" if known is None or known.seconds is None else show.took(known.seconds)
    usage = payload.get("usage")
    if kind == "message.created" and isinstance(usage, Mapping):
        return f"{usage.get('input_tokens', 0):,} → {usage.get('output_tokens', 0):,} tokens"
    return ""


def worker_name(name: Any) -> str:
    """Return a worker's name as far as people tell workers apart."""
    host, _, rest = str(name).partition(":")
    return f"{host}:{rest.partition(':')[0]}" if rest else host

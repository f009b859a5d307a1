"""The page of one session: what was said, what is queued, who feeds it, where its answers go, its scopes.

Apps above the core add what they know of a session with ``add``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe

from sessions_app.admin import addresses, show, timeline
from sessions_app.admin.base import Section, all_of
from sessions_app.models import LIVE, Checkpoint, JournalEntry, Run, Session, ShellTask
from sessions_app.services import grants, permission_explain, reply_targets, runs, scopes
from sessions_app.services.projections.runs import run_rows, run_views

SHOWN: Final = 160
"""Entries that the talk is made of: messages, outputs, and the tool work between them."""
QUEUE: Final = 10
TEMPLATE: Final = "sessions_app/admin/session.html"
_TALK: Final = ("message.created", "output.emitted", "tool.returned", "approval.requested", "question.asked")

Part = Callable[[Session], Section]
_PARTS: Final[list[Part]] = []


def add(part: Part) -> None:
    """Let the page show what ``part`` returns; it must make a fixed number of queries."""
    _PARTS.append(part)


@dataclass(kw_only=True)
class Said:
    """One turn of the talk. ``tools`` counts the calls that came before it, in the run ``of_run``."""

    who: str
    tone: str
    at: datetime
    text: str
    seq: int
    of_run: str
    tools: int = 0
    note: str = ""


def context(session: Session) -> dict[str, Any]:
    """Return what the page shows beside the verbs."""
    row = Session.objects.select_related("persona__persona").annotate(read_at=Now()).get(pk=session.pk)
    queue = list(run_rows().filter(session=row, status__in=sorted(LIVE)).order_by("position")[:QUEUE])
    views = run_views(queue)
    return {
        "console_live": "swap",
        "session": row,
        "console_persona": row.persona,
        "console_persona_url": addresses.of(row.persona) if row.persona else "",
        "console_talk": _talk(row),
        "console_queue": [_queued(run, view) for run, view in zip(queue, views, strict=True)],
        "console_facts": _facts(row, row.read_at),
        "console_todos": row.todos,
        "console_scopes": [*_capabilities(row), *_credentials(row)],
        "console_settings": _settings(row),
        "console_targets": reply_targets.shown(row.reply_targets),
        "console_parts": [part(row) for part in _PARTS],
        "console_sections": [_runs(row), _tasks(row), _checkpoints(row), _journal(row)],
    }


def _talk(row: Session) -> list[Said]:
    rows = JournalEntry.objects.filter(session=row, kind__in=_TALK).order_by("-seq")
    rows = rows.annotate(of_run=Subquery(Run.objects.filter(pk=OuterRef("run_id")).values("run_id")[:1]))
    talk: list[Said] = []
    tools = 0
    persona = row.persona.persona.persona_id if row.persona else "agent"
    for entry in reversed(rows[:SHOWN]):
        if entry.kind == "tool.returned":
            tools += 1
            continue
        said = _said(entry, persona)
        if said is not None:
            said.tools, tools = tools, 0
            talk.append(said)
    return talk


def _said(entry: Any, persona: str) -> Said | None:
    payload: Mapping[str, Any] = show.redact(entry.payload)
    by = {"at": entry.at, "seq": entry.seq, "of_run": entry.of_run or ""}
    text = str(payload.get("content") or "").strip()
    if entry.kind == "message.created" and payload.get("role") == "user":
        who = str(payload.get("actor_id") or payload.get("source_kind") or "user")
        return Said(who=who, tone="busy", text=text, note=str(payload.get("source_kind") or ""), **by)
    if entry.kind in ("message.created", "output.emitted"):
        return Said(who=persona, tone="calm", text=text, **by) if text else None
    (line,) = timeline.lines([entry])
    words = line.words if entry.kind == "approval.requested" else "Asks a question"
    return Said(who=persona, tone="wait", text=words, **by)


def _queued(run: Run, view: Mapping[str, Any]) -> dict[str, Any]:
    waits = view.get("waiting_for")
    return {
        "run": run,
        "url": addresses.of(run),
        "badge": show.badge(run.status),
        "text": show.redact(runs.text_preview(run)) or run.run_id,
        "from": f"{run.source_kind}, {run.actor_id}",
        "when": show.age(run.submitted_at),
        "ask": reverse("admin:console_inbox_item", args=[waits["ids"][0]]) if waits and waits["ids"] else "",
    }


def _facts(row: Session, read_at: datetime) -> list[tuple[str, Any]]:
    facts: list[tuple[str, Any]] = [
        ("Thread", row.thread_id or show.NOTHING),
        ("Workspace", row.workspace),
        ("Made by", row.created_by or show.NOTHING),
        ("Made", show.age(row.created_at)),
        ("Last change", show.age(row.updated_at)),
        ("Journal", f"{row.next_seq - 1:,} entries"),
    ]
    if row.lease_owner and row.lease_expires_at is not None:
        stale = row.lease_expires_at <= read_at
        name = timeline.worker_name(row.lease_owner)
        facts.append(("Driven by", f"{name}, {'whose lease ran out' if stale else 'now'}"))
    if row.ended_at is not None:
        facts.append(("Ended", show.age(row.ended_at)))
        facts.append(("Why", show.redact(row.end_reason) or show.NOTHING))
    return facts


@dataclass(frozen=True, kw_only=True)
class Scope:
    """One list of names: what the session says, what its persona says, and what comes of both."""

    name: str
    own: Sequence[str]
    persona: Sequence[str] = ()
    effective: Sequence[str]
    lost: Sequence[str] = ()


def _capabilities(row: Session) -> list[Scope]:
    bound = row.persona.capability_scope if row.persona else {}
    effective = scopes.effective_capabilities(row.capability_scope, bound)
    return [
        scope_of(name, row.capability_scope.get(name, ()), bound.get(name, ()), effective.get(name, ()))
        for name in sorted({*row.capability_scope, *bound, *effective})
    ]


def _credentials(row: Session) -> list[Scope]:
    effective = scopes.effective_credentials(row.credential_scope)
    return [
        scope_of(name, row.credential_scope.get(name, ()), (), names) for name, names in effective.items()
    ]


def scope_of(name: str, own: Sequence[str], persona: Sequence[str], effective: Sequence[str]) -> Scope:
    """Return one list for people to read, with the names that nothing came of."""
    lost = {*own, *persona} - {*effective, "*"}
    if "*" in effective:
        lost.clear()
    return Scope(
        name=name.replace("_", " "), own=own, persona=persona, effective=effective, lost=sorted(lost)
    )


def _settings(row: Session) -> list[tuple[str, Any]]:
    mode = permission_explain.matrix(session_id=row.session_id)["effective_mode"]
    inherited = "" if row.permission_mode else " (the service's)"
    return [
        ("Permission mode", f"{mode}{inherited}"),
        ("Grants", _grants(row)),
        ("Permission rules", show.json_block(row.permission_rules)),
        ("Route policy", show.json_block(row.route_policy)),
        ("Effects in doubt", row.get_unknown_effects_display()),
        ("Binding keys", show.json_block(row.binding_keys)),
    ]


def _grants(row: Session) -> Any:
    """Return what runs unasked because an admin said so, and who that was."""
    lines = [
        (grant["tool_name"], show.redact(grant["granted_by"]), grant["reason"]) for grant in grants.of(row)
    ]
    return format_html_join(mark_safe("<br>"), "{}, by {}: {}", lines) if lines else show.NOTHING


def _runs(row: Session) -> Section:
    rows = Run.objects.filter(session=row).order_by("-pk")[:10]
    return Section(
        title="Runs",
        columns=("run", "status", "input", "submitted"),
        rows=[
            (
                show.link(run, show.short(run.run_id)),
                show.badge(run.status),
                show.line(show.redact(runs.text_preview(run))),
                show.age(run.submitted_at),
            )
            for run in rows
        ],
        more=all_of(Run, session__id__exact=row.pk),
    )


def _tasks(row: Session) -> Section:
    rows = ShellTask.objects.filter(session=row).order_by("-pk")[:5]
    return Section(
        title="Shell tasks",
        columns=("task", "status", "command", "started"),
        rows=[
            (
                show.link(task, show.short(task.task_id)),
                show.badge(task.status),
                show.line(show.redact(task.command)),
                show.age(task.started_at),
            )
            for task in rows
        ],
        more=all_of(ShellTask, session__id__exact=row.pk),
    )


def _checkpoints(row: Session) -> Section:
    rows = Checkpoint.objects.filter(session=row).order_by("-pk")[:5]
    return Section(
        title="Checkpoints",
        columns=("checkpoint", "trigger", "tokens"),
        rows=[
            (
                show.link(item, f"through #{item.through_seq}"),
                item.trigger,
                f"{item.tokens_before:,} → {item.tokens_after:,}",
            )
            for item in rows
        ],
    )


def _journal(row: Session) -> Section:
    return timeline.section(
        JournalEntry.objects.filter(session=row), all_of(JournalEntry, session__id__exact=row.pk)
    )

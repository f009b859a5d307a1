"""Sessions: the unit of order, with their lease, their runs and their journal."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kheish_site.lib import clock
from sessions_app.admin import show, timeline
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.filters import ByPersona, BySessionState
from sessions_app.admin.verbs import Cleaned, Outcome, ReasonForm, Verb
from sessions_app.models import Checkpoint, JournalEntry, Run, Session
from sessions_app.services import journal, runs, sessions
from sessions_app.services.access import Principal


def _interrupt(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    stopped = runs.interrupt(row.session_id, principal=principal.name, reason=cleaned["reason"])
    return None if stopped is not None else Outcome(word="had nothing to interrupt")


def _end(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    sessions.end(row.session_id, reason=cleaned["reason"], principal=principal.name)
    return None


def _verify(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    found = journal.verify(row)
    if found.whole:
        return Outcome(word=f"whole, {found.entries} entries")
    return Outcome(word=f"BROKEN at entry {found.broken_at}: {found.problem}")


def _open(row: Session) -> bool:
    return row.ended_at is None


INTERRUPT = Verb(
    name="interrupt",
    label="Interrupt",
    past="interrupted",
    act=_interrupt,
    form=ReasonForm,
    applies=_open,
    explain="The active run stops at its next step. Queued runs stay and go on.",
)
END = Verb(
    name="end",
    label="End session",
    past="ended",
    act=_end,
    form=ReasonForm,
    applies=_open,
    tone="danger",
    explain="The session takes no more work, for good. It must have no active or queued run.",
)
VERIFY = Verb(
    name="verify",
    label="Verify journal",
    past="verified",
    act=_verify,
    role="viewer",
    many=False,
    explain="Recomputes the hash chain of every entry and compares its head with the session.",
)


@admin.register(Session)
class SessionAdmin(ConsoleAdmin):
    """Durable conversations."""

    plural, singular, public_id = "Sessions", "Session", "session_id"
    empty = "No session yet. A session is one long conversation; make one:"
    empty_command = "python3 manage.py sessions create demo"
    verbs = (INTERRUPT, END, VERIFY)

    list_display = ("shown_id", "state", "bound_persona", "queued_runs", "entries", "lease", "active", "born")
    list_filter = (BySessionState, ByPersona)
    list_select_related = ("persona__persona",)
    search_fields = ("session_id__startswith", "thread_id__exact")
    search_help_text = "The beginning of a session's name, or a thread id"
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "thread_id",
                    "bound_persona",
                    "workspace",
                    "todo_list",
                    "created_by",
                    "born",
                    "over",
                )
            },
        ),
        (
            "Settings of future runs",
            {
                "classes": ("collapse",),
                "fields": ("policy_json", "permission_mode", "rules_json", "unknown_effects", "targets_json"),
            },
        ),
        (
            "Scopes",
            {"classes": ("collapse",), "fields": ("capability_json", "credential_json", "binding_json")},
        ),
        (
            "Order",
            {
                "classes": ("collapse",),
                "fields": (
                    "entries",
                    "last_hash",
                    "queued_runs",
                    "blocked",
                    "lease",
                    "lease_epoch",
                    "revision",
                ),
            },
        ),
    )
    shown_id = show.id_of("session_id", "session")
    active = show.age_of("updated_at", "last change")
    born = show.age_of("created_at", "created")
    policy_json = show.json_of("route_policy")
    rules_json = show.json_of("permission_rules")
    targets_json = show.targets_of()
    capability_json = show.json_of("capability_scope")
    credential_json = show.json_of("credential_scope")
    binding_json = show.json_of("binding_keys")

    @admin.display(description="state")
    def state(self, row: Session) -> SafeString:
        """What the row itself knows; the runs below say it exactly."""
        return show.badge(state_of(row))

    @admin.display(description="persona")
    def bound_persona(self, row: Session) -> SafeString | str:
        """The revision that is bound, which never follows."""
        if row.persona is None:
            return show.NOTHING
        return show.link(row.persona, f"{row.persona.persona.persona_id} r{row.persona.revision}")

    @admin.display(description="entries")
    def entries(self, row: Session) -> int:
        """Length of the journal, known without counting."""
        return row.next_seq - 1

    @admin.display(description="lease")
    def lease(self, row: Session) -> SafeString | str:
        """Who drives it, and until when."""
        if not row.lease_owner or row.lease_expires_at is None:
            return show.NOTHING
        stale = row.lease_expires_at <= clock.now()
        state = show.badge("stale" if stale else "live")
        return format_html("{} {} ({})", state, row.lease_owner, show.age(row.lease_expires_at))

    @admin.display(description="plan")
    def todo_list(self, row: Session) -> SafeString | str:
        """The agent's own list."""
        done = {True: "x", False: " "}
        lines = [f"[{done[bool(item.get('completed'))]}] {item.get('content', '')}" for item in row.todos]
        return show.block("\n".join(lines))

    @admin.display(description="ended")
    def over(self, row: Session) -> SafeString | str:
        """When and why it ended."""
        if row.ended_at is None:
            return show.NOTHING
        return format_html("{} {}", show.age(row.ended_at), show.redact(row.end_reason))

    def status_line(self, row: Session) -> Sequence[Any]:
        """State and age."""
        return (self.state(row), f"{row.next_seq - 1} entries", show.age(row.updated_at))

    def facts(self, row: Session) -> Sequence[tuple[str, Any]]:
        """What would be touched."""
        return (
            ("Session", show.link(row, row.session_id)),
            ("State", self.state(row)),
            ("Queued runs", row.queued_runs),
        )

    def sections(self, row: Session) -> Sequence[Section]:
        """Its runs, its journal, its checkpoints."""
        entries = JournalEntry.objects.filter(session=row)
        return (
            _runs(row),
            timeline.section(entries, all_of(JournalEntry, session__id__exact=row.pk)),
            _checkpoints(row),
        )


def state_of(row: Session) -> str:
    """Return a word for what is going on, from the session row alone."""
    if row.ended_at is not None:
        return "ended"
    if row.blocked:
        return "waiting_for_somebody"
    if row.lease_owner:
        return "running"
    return "queued" if row.queued_runs else "idle"


def _runs(row: Session) -> Section:
    rows = [
        (
            show.link(run, show.short(run.run_id)),
            show.badge(run.status),
            format_html('<span class="kh-line">{}</span>', show.redact(runs.text_preview(run))),
            show.age(run.submitted_at),
        )
        for run in latest(Run.objects.filter(session=row))
    ]
    columns = ("run", "status", "input", "submitted")
    return Section(title="Runs", columns=columns, rows=rows, more=all_of(Run, session__id__exact=row.pk))


def _checkpoints(row: Session) -> Section:
    rows = [
        (
            show.link(item, f"through #{item.through_seq}"),
            item.trigger,
            f"{item.tokens_before:,} → {item.tokens_after:,}",
        )
        for item in latest(Checkpoint.objects.filter(session=row), 5)
    ]
    return Section(title="Checkpoints", columns=("checkpoint", "trigger", "tokens"), rows=rows)

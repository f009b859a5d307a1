"""Sessions: the unit of order, with their lease, their runs and their journal."""

from collections.abc import Callable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from sessions_app.admin import session_page, show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.filters import ByPersona, BySessionState
from sessions_app.admin.forms import JsonArea, RevisedForm, TextArea, still_shown, unmasked
from sessions_app.admin.once import new_key
from sessions_app.admin.personas import NAME
from sessions_app.admin.verbs import Cleaned, Outcome, ReasonForm, Verb
from sessions_app.models import JournalEntry, Persona, Session
from sessions_app.services import grants, journal, runs, session_scopes, sessions
from sessions_app.services.principal import Principal


def _interrupt(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    stopped = runs.interrupt(row.session_id, principal=principal.name, reason=cleaned["reason"])
    return None if stopped is not None else Outcome(word="had nothing to interrupt")


def _end(row: Session, cleaned: Cleaned, principal: Principal) -> None:
    sessions.end(row.session_id, reason=cleaned["reason"], principal=principal.name)


def _verify(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    found = journal.verify(row)
    if found.whole:
        return Outcome(word=f"whole, {found.entries} entries")
    return Outcome(word=f"BROKEN at entry {found.broken_at}: {found.problem}")


def _take_back(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome:
    grants.revoke(row.session_id, cleaned["tool_name"], principal=principal, reason=cleaned["reason"])
    return Outcome(word=f"taken back: {cleaned['tool_name']} asks again")


def _take_back_form(row: Session | None) -> type[forms.Form]:
    names = [grant["tool_name"] for grant in grants.of(row)] if row is not None else []
    tool_name = forms.ChoiceField(choices=[(name, name) for name in names], label="Tool")
    return type(
        "TakeBackThis", (ReasonForm,), {"tool_name": tool_name, "field_order": ("tool_name", "reason")}
    )


def _open(row: Session) -> bool:
    return row.ended_at is None


class SayForm(forms.Form):
    """Something for the agent to do."""

    content = TextArea(rows=3, max_length=100_000, label="Input")


class NewSessionForm(forms.Form):
    """A conversation that is not there yet."""

    session_id = forms.CharField(max_length=200, validators=[NAME], help_text="Its name for good.")
    persona_id = forms.ChoiceField(required=False, choices=lambda: [("", "none"), *_personas()])


class PersonaForm(forms.Form):
    """Which persona."""

    persona_id = forms.ChoiceField(required=False, choices=lambda: [("", "none"), *_personas()])


class ScopeForm(RevisedForm):
    """Lists of names that are allowed and denied."""

    scope = JsonArea(rows=10, required=False, help_text="Empty: every name is allowed.")


def _personas() -> list[tuple[str, str]]:
    rows = Persona.objects.filter(retired_at=None).values_list("persona_id", flat=True)[:200]
    return [(name, name) for name in rows]


def _say(row: Session, cleaned: Cleaned, principal: Principal) -> Outcome:
    new = runs.NewRun(content=cleaned["content"], source_kind="console", actor_id=principal.name)
    runs.submit(row.session_id, new, principal=principal.name)
    return Outcome(row=row)


def _create(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    new = sessions.NewSession(session_id=cleaned["session_id"], persona_id=cleaned["persona_id"])
    made, is_new = sessions.create(new, principal=principal.name)
    return Outcome(row=made, word="" if is_new else "there was one already")


def _bind(row: Session, cleaned: Cleaned, principal: Principal) -> None:
    sessions.bind_persona(row.session_id, cleaned["persona_id"] or None, principal=principal.name)


def _scope_verb(member: str, label: str, change: Callable[..., Session], words: str) -> Verb:
    """Return the verb that makes a scope the session's, unless somebody changed the session meanwhile."""
    name = member.replace("_", " ")

    def act(row: Session, cleaned: Cleaned, principal: Principal) -> None:
        seen = cleaned["revision"]
        with still_shown(cleaned, row.revision, lambda: _last_hand(row)):
            scope = unmasked(cleaned, {"scope": getattr(row, member)})["scope"]
            change(row.session_id, scope, principal=principal, expected_revision=seen)

    return Verb(
        name=member.replace("_", "-"),
        label=label,
        past=f"{name} changed",
        act=act,
        form=ScopeForm,
        initial=lambda row: {"revision": row.revision, "scope": getattr(row, member)},
        applies=_open,
        many=False,
        explain=(
            f"The {name}: {words} Only an admin may widen it. A connector whose policy names another one is "
            "refused from then on. Refused while a run is active or queued."
        ),
    )


def _last_hand(row: Session) -> str:
    """Return who changed a setting of the session last."""
    rows = JournalEntry.objects.filter(session=row, kind__in=("session.updated", "persona.bound"))
    payload = rows.order_by("-seq").values_list("payload", flat=True).first() or {}
    return str(payload.get("principal", ""))


SAY = Verb(
    name="say",
    label="Send input",
    past="accepted, it waits its turn",
    act=_say,
    form=SayForm,
    keyed=True,
    applies=_open,
    many=False,
    tone="good",
    explain="A new run at the end of the session's queue.",
)
CREATE = Verb(
    name="session",
    label="New session",
    past="made",
    act=_create,
    form=NewSessionForm,
    keyed=True,
)
BIND = Verb(
    name="persona",
    label="Change persona",
    past="persona bound",
    act=_bind,
    form=PersonaForm,
    initial=lambda row: {"persona_id": row.persona.persona.persona_id if row.persona else ""},
    applies=_open,
    many=False,
    explain="Binds the persona's current revision, for good. Refused while a run is active or queued.",
)
SEES = _scope_verb(
    "capability_scope",
    "Change what it sees",
    session_scopes.set_capability_scope,
    "skills, MCP servers and MCP tools. The persona's scope counts beside it.",
)
USES = _scope_verb(
    "credential_scope",
    "Change what it uses",
    session_scopes.set_credential_scope,
    "routes, connectors, their credentials and MCP servers. Default reply targets that it excludes go.",
)
INTERRUPT = Verb(
    name="interrupt",
    label="Interrupt",
    past="interrupted",
    act=_interrupt,
    form=ReasonForm,
    applies=_open,
    explain="The active run stops at its next step. Queued runs stay and go on.",
)
TAKE_BACK = Verb(
    name="take-back",
    label="Take a grant back",
    past="asks again",
    act=_take_back,
    form_for=_take_back_form,
    applies=lambda row: bool(grants.of(row)),
    many=False,
    explain="People are asked again, from the next call of the tool on.",
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
AT_HAND = (INTERRUPT, END)
"""What its page has as buttons; the rest is in a menu, so that its head stays low on a phone."""


@admin.register(Session)
class SessionAdmin(ConsoleAdmin):
    """Durable conversations."""

    page_template = session_page.TEMPLATE
    plural, singular, public_id = "Sessions", "Session", "session_id"
    empty = "No session yet. A session is one long conversation; make one:"
    empty_command = "python3 manage.py sessions create demo"
    verbs, creates = (SAY, INTERRUPT, BIND, SEES, USES, VERIFY, TAKE_BACK, END), (CREATE,)
    live = True

    list_display = ("shown_id", "state", "bound_persona", "queued_runs", "entries", "lease", "active", "born")
    list_filter = (BySessionState, ByPersona)
    list_select_related = ("persona__persona",)
    search_fields = ("session_id__startswith", "thread_id__exact")
    search_help_text = "The beginning of a session's name, or a thread id"
    shown_id = show.id_of("session_id", "session")
    active = show.age_of("updated_at", "last change")
    born = show.age_of("created_at", "created")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Session]:
        """With the time of the clock that leases are written by."""
        found: QuerySet[Session] = super().get_queryset(request).annotate(read_at=Now())
        return found

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
    def lease(self, row: Any) -> SafeString | str:
        """Who drives it, and until when. Needs a row of ``get_queryset``."""
        if not row.lease_owner or row.lease_expires_at is None:
            return show.NOTHING
        stale = row.lease_expires_at <= row.read_at
        state = show.badge("stale" if stale else "live")
        return format_html(
            "{} {} ({})", state, row.lease_owner, show.age(row.lease_expires_at, now=row.read_at)
        )

    def facts(self, row: Session) -> Sequence[tuple[str, Any]]:
        """What would be touched."""
        return (
            ("Session", show.link(row, row.session_id)),
            ("State", self.state(row)),
            ("Queued runs", row.queued_runs),
        )

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template of the page needs."""
        verbs = self.verbs_of(request, row)
        offers = verbs["console_verbs"]
        return {
            "title": row.session_id,
            **verbs,
            "console_say": any(offer["verb"] is SAY for offer in offers),
            "console_verbs": [offer for offer in offers if offer["verb"] in AT_HAND],
            "console_more_verbs": [offer for offer in offers if offer["verb"] not in (SAY, *AT_HAND)],
            "console_once": new_key(),
            "console_badge": self.state(row),
            **session_page.context(row),
        }


def state_of(row: Session) -> str:
    """Return a word for what is going on, from the session row alone."""
    if row.ended_at is not None:
        return "ended"
    if row.blocked:
        return "waiting_for_somebody"
    if row.lease_owner:
        return "running"
    return "queued" if row.queued_runs else "idle"

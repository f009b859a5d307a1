"""The service's own settings with their history, its workers, and who does the periodic work."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.forms import RevisedForm, TextArea, still_shown, unmasked
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Role, RuntimeRevision, TickLease, UnknownEffects, Worker
from sessions_app.services import leases, recovery, runtime_settings
from sessions_app.services.principal import Principal
from sessions_app.tools.policy import MODES


class ModeForm(forms.Form):
    """How tools are allowed."""

    mode = forms.ChoiceField(choices=[(mode, mode) for mode in MODES])


class EffectsForm(forms.Form):
    """What an effect in doubt does."""

    mode = forms.ChoiceField(choices=UnknownEffects.choices)


PROMPTS = ("custom_prompt", "append_prompt", "override_prompt")


class PromptForm(RevisedForm):
    """What the service adds to every run's system prompt."""

    custom_prompt = TextArea(rows=6, required=False)
    append_prompt = TextArea(rows=3, required=False)
    override_prompt = TextArea(rows=3, required=False, help_text="Replaces everything else.")


def _set_mode(row: None, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    runtime_settings.change("permission-mode", {"mode": cleaned["mode"]}, principal=principal.name)
    return None


def _set_effects(row: None, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    runtime_settings.change("unknown-effects", {"mode": cleaned["mode"]}, principal=principal.name)
    return None


def _set_prompt(row: None, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    live, given = runtime_settings.current(), {name: cleaned[name] for name in PROMPTS}
    with still_shown(cleaned, live.revision, _last_hand):
        values = {"settings": unmasked(given, {name: getattr(live.system_prompt, name) for name in PROMPTS})}
        runtime_settings.change(
            "system-prompt", values, expected_revision=cleaned["revision"], principal=principal.name
        )
    return None


def _last_hand() -> str:
    return runtime_settings.revisions().values_list("created_by", flat=True).first() or ""


def _prompt_now(row: None) -> dict[str, Any]:
    live = runtime_settings.current()
    shown = {name: show.redact(getattr(live.system_prompt, name)) for name in PROMPTS}
    return shown | {"revision": live.revision}


def _roll_back(row: RuntimeRevision, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    runtime_settings.rollback(row.revision, principal=principal.name)
    return None


MODE = Verb(
    name="permission-mode",
    label="Permission mode",
    past="permission mode set",
    act=_set_mode,
    role=Role.ADMIN,
    form=ModeForm,
    initial=lambda row: {"mode": runtime_settings.current().permission_mode},
    explain="For future runs of sessions without a mode of their own.",
)
EFFECTS = Verb(
    name="unknown-effects",
    label="Effects in doubt",
    past="setting saved",
    act=_set_effects,
    role=Role.ADMIN,
    form=EffectsForm,
    initial=lambda row: {"mode": runtime_settings.current().unknown_effects},
    explain="When nobody can know whether a call happened, new sessions ask a person or tell the agent.",
)
PROMPT = Verb(
    name="system-prompt",
    label="System prompt",
    past="system prompt saved",
    act=_set_prompt,
    role=Role.ADMIN,
    form=PromptForm,
    initial=_prompt_now,
    explain="Future runs get it; runs that exist keep theirs.",
)
ROLL_BACK = Verb(
    name="rollback",
    label="Go back to this",
    past="put in force again, as a new revision",
    act=_roll_back,
    role=Role.ADMIN,
    many=False,
    explain="Adds a revision with these settings. Runs that exist keep what they pinned.",
)


@admin.register(RuntimeRevision)
class RuntimeRevisionAdmin(ConsoleAdmin):
    """Live settings; the newest revision is in force."""

    plural, singular = "Live settings", "Settings revision"
    empty = "Everything is as installed: permission mode default, no prompt added."
    verbs, creates = (ROLL_BACK,), (MODE, PROMPT, EFFECTS)

    list_display = ("name", "setting", "created_by", "made")
    list_filter = ("setting",)
    fields = ("revision", "setting", "values_json", "created_by", "made")
    values_json = show.json_of("values")
    made = show.age_of("created_at", "when")

    @admin.display(description="revision")
    def name(self, row: RuntimeRevision) -> str:
        """Its number."""
        return f"r{row.revision}"


@admin.register(Worker)
class WorkerAdmin(ConsoleAdmin):
    """Who drives sessions."""

    plural, singular, public_id = "Workers", "Worker", "name"
    empty = "No worker is alive: runs wait. Start the service, or one more worker process."
    empty_command = "python3 manage.py serve"

    list_display = ("name", "state", "slots", "host", "pid", "up", "beat")
    fields = ("name", "state", "host", "pid", "pid_started", "slots", "up", "beat")
    up = show.age_of("started_at", "started")
    beat = show.age_of("heartbeat_at", "last seen")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        """Read the time of the heartbeats' clock in the same statement."""
        return Worker.objects.heard()

    @admin.display(description="state")
    def state(self, row: Worker) -> SafeString:
        """Live, leaving, or silent for too long."""
        return show.badge(worker_state(row))

    def status_line(self, row: Worker) -> Sequence[Any]:
        """State and last heartbeat."""
        return (self.state(row), show.age(row.heartbeat_at, now=row.read_at))


def worker_state(row: Worker) -> str:
    """Return live, draining or stale. Needs a row that was ``heard``."""
    silent = timedelta(seconds=recovery.DEAD_AFTER_LEASES * leases.lease_seconds())
    if row.silent_for > silent:
        return "stale"
    return "draining" if row.draining else "live"


@admin.register(TickLease)
class TickLeaseAdmin(ConsoleAdmin):
    """Which worker does the periodic work now."""

    plural, singular, public_id = "Periodic work", "Periodic work", "name"
    empty = "No worker has done the rounds yet. Workers do them by themselves."

    list_display = ("name", "owner", "until")
    fields = ("name", "owner", "until")
    until = show.age_of("expires_at", "until")

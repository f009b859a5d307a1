"""Observations in the console: sources with their verbs, what they sent, and what was made of it.

No page shows content. Viewers do not see the details of an observation of a sensitive source.
"""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.safestring import SafeString

from connectors_app.models import (
    Materialization,
    MaterializationSchedule,
    Observation,
    ObservationKind,
    ObservationSource,
    ObservationToken,
)
from connectors_app.services.observations import (
    projections,
    retention,
    schedules,
    source_tokens,
    sources,
)
from connectors_app.services.observations.sources import SourceFields
from kheish_site.lib import clock
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.caller import principal
from sessions_app.admin.forms import RevisedForm, last_hand, still_shown
from sessions_app.admin.personas import NAME
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Role
from sessions_app.services.principal import Principal


class SourceForm(forms.Form):
    """The fields of a source that an admin may set."""

    sensitive = forms.BooleanField(required=False, initial=True, help_text="Viewers see no facts of it.")
    retention_days = forms.IntegerField(min_value=1, max_value=3_650, initial=7)
    retention_count = forms.IntegerField(min_value=1, max_value=1_000_000, initial=512)
    retention_bytes = forms.IntegerField(min_value=1, max_value=2**50, initial=512 * 1024 * 1024)
    burst_count = forms.IntegerField(min_value=1, max_value=100_000, initial=120)
    burst_seconds = forms.IntegerField(min_value=1, max_value=86_400, initial=60)
    allow_raw_purge = forms.BooleanField(required=False, help_text="Content may be purged before its time.")
    allow_materialization = forms.BooleanField(
        required=False, initial=True, help_text="Agents may be shown it."
    )
    allow_output_delivery = forms.BooleanField(
        required=False, help_text="What agents say of it may leave the service."
    )
    enabled = forms.BooleanField(required=False, initial=True, help_text="Uploads are taken.")


class ChangedSourceForm(RevisedForm, SourceForm):
    """The new settings of a source."""


class NewSourceForm(SourceForm):
    """A new source."""

    source_id = forms.CharField(max_length=128, validators=[NAME], help_text="Its name for good.")
    kind = forms.ChoiceField(choices=ObservationKind.choices)
    field_order = ("source_id", "kind")


class GraceForm(forms.Form):
    """How long the earlier tokens still work."""

    grace_seconds = forms.IntegerField(
        min_value=0, max_value=source_tokens.LONGEST_GRACE_MS // 1000, initial=3_600
    )


def _fields(cleaned: Cleaned) -> dict[str, Any]:
    return {name: cleaned[name] for name in SourceFields.__dataclass_fields__}


def _initial(row: ObservationSource) -> dict[str, Any]:
    columns = set(SourceFields.__dataclass_fields__) - {"enabled"}
    values = {name: getattr(row, name) for name in columns}
    return values | {"enabled": row.disabled_at is None, "revision": row.revision}


def _create(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    fields = SourceFields(**_fields(cleaned))
    _, secret = sources.create(cleaned["source_id"], cleaned["kind"], fields, principal=principal.name)
    return Outcome(once=secret)


def _change(row: ObservationSource, cleaned: Cleaned, principal: Principal) -> Outcome:
    expected = frozenset({cleaned["revision"]})
    with still_shown(cleaned, row.revision, last_hand("observation_source", row.source_id)):
        return Outcome(row=sources.update(row.source_id, _fields(cleaned), expected=expected))


def _rotate(row: ObservationSource, cleaned: Cleaned, principal: Principal) -> Outcome:
    grace = cleaned["grace_seconds"] * 1000
    _, secret = source_tokens.rotate(row, principal=principal.name, grace_period_ms=grace)
    return Outcome(once=secret)


def _revoke(row: ObservationSource, cleaned: Cleaned, principal: Principal) -> None:
    source_tokens.revoke(row)


def _delete(row: ObservationSource, cleaned: Cleaned, principal: Principal) -> Outcome:
    sources.delete(row.source_id, expected=frozenset({row.revision}))
    return Outcome(row=ObservationSource())


def _purge(row: Observation, cleaned: Cleaned, principal: Principal) -> None:
    retention.purge_one(row.observation_id, principal=principal.name)


def _unschedule(row: MaterializationSchedule, cleaned: Cleaned, principal: Principal) -> Outcome:
    schedules.delete(row.source, row.schedule_id)
    return Outcome(row=MaterializationSchedule())


CREATE = Verb(
    name="source",
    label="New source",
    past="made",
    act=_create,
    role=Role.ADMIN,
    form=NewSourceForm,
    keyed=True,
)
CHANGE = Verb(
    name="change",
    label="Change",
    past="changed",
    act=_change,
    role=Role.ADMIN,
    form=ChangedSourceForm,
    initial=_initial,
    many=False,
    explain="Holds from the next upload and the next purge on.",
)
ROTATE = Verb(
    name="rotate",
    label="Rotate token",
    past="token made",
    act=_rotate,
    keyed=True,
    role=Role.ADMIN,
    form=GraceForm,
    initial=lambda row: {"grace_seconds": 3_600},
    many=False,
    explain="Shows a new upload token once. Those before it hold for the grace period.",
)
REVOKE = Verb(
    name="revoke",
    label="Revoke tokens",
    past="tokens revoked",
    act=_revoke,
    role=Role.ADMIN,
    tone="danger",
    explain="The device is refused from now on, until a rotation gives it a new token.",
)
DELETE = Verb(
    name="delete",
    label="Delete",
    past="deleted",
    act=_delete,
    role=Role.ADMIN,
    tone="danger",
    many=False,
    explain="Its tokens, schedules and observations go with it. Runs made from them stay.",
)
PURGE = Verb(
    name="purge",
    label="Purge",
    past="purged",
    act=_purge,
    role=Role.ADMIN,
    applies=lambda row: row.purged_at is None and row.source.allow_raw_purge,
    tone="danger",
    explain="Its content and what was said of it are lost; that it was here stays.",
)
UNSCHEDULE = Verb(
    name="delete",
    label="Delete",
    past="deleted",
    act=_unschedule,
    tone="danger",
    explain="Runs it has made stay.",
)


@admin.register(ObservationSource)
class ObservationSourceAdmin(ConsoleAdmin):
    """The sources of observations."""

    plural, singular, public_id = "Observation sources", "Observation source", "source_id"
    menu = "Connect"
    empty = "No observation source. Make one: its token lets a device send, and do nothing else."
    empty_command = "python3 manage.py observations sources create desk-screen --kind screen_snapshot"
    verbs, creates = (CHANGE, ROTATE, REVOKE, DELETE), (CREATE,)

    list_display = ("source_id", "state", "kind", "sensitive", "shown_to_agents", "changed")
    list_filter = ("kind", "sensitive")
    search_fields = ("source_id__startswith",)
    search_help_text = "The beginning of a name"
    fields = (
        "source_id", "kind", "sensitive", "kept", "burst", "allow_raw_purge",
        "allow_materialization", "allow_output_delivery",
        "revision", "created_by", "born", "changed",
    )  # fmt: skip
    changed = show.age_of("updated_at", "changed")
    born = show.age_of("created_at", "made")

    @admin.display(description="shown to agents", boolean=True)
    def shown_to_agents(self, row: ObservationSource) -> bool:
        """Whether agents may be shown what it sends."""
        return row.allow_materialization

    @admin.display(description="kept at most")
    def kept(self, row: ObservationSource) -> str:
        """How long and how much, whichever is reached first."""
        size = filesizeformat(row.retention_bytes)
        return f"{row.retention_days} days, {row.retention_count:,} observations, {size}"

    @admin.display(description="taken at most")
    def burst(self, row: ObservationSource) -> str:
        """How many uploads in how long."""
        return f"{row.burst_count:,} uploads in {show.span(row.burst_seconds)}"

    @admin.display(description="state")
    def state(self, row: ObservationSource) -> SafeString:
        """Whether uploads are taken."""
        return show.badge("ok" if row.disabled_at is None else "disabled")

    def status_line(self, row: ObservationSource) -> Sequence[Any]:
        """Its state."""
        return (self.state(row),)

    def sections(self, row: ObservationSource) -> Sequence[Section]:
        """Its newest observations, its tokens and its schedules."""
        seen = [
            (show.link(item, show.short(item.observation_id)), item.media_type, item.size_bytes,
             show.age(item.received_at), item.purge_reason or show.NOTHING)
            for item in latest(row.observations.all())
        ]  # fmt: skip
        tokens = [
            (show.link(item, show.short(item.token_id)), _token_state(item), show.age(item.last_used_at))
            for item in latest(row.tokens.all())
        ]
        looks = [
            (show.link(item, show.short(item.schedule_id)), show.span(item.interval_seconds),
             show.link(item.session, item.session.session_id), item.last_outcome or show.NOTHING)
            for item in latest(row.schedules.select_related("session"))
        ]  # fmt: skip
        return (
            Section(
                title="Observations",
                columns=("Id", "Type", "Bytes", "Received", "Purged"),
                rows=seen,
                more=all_of(Observation, source__id__exact=row.pk),
                empty="Nothing was sent yet.",
            ),
            Section(title="Tokens", columns=("Id", "State", "Last used"), rows=tokens, empty="No token."),
            Section(title="Schedules", columns=("Id", "Every", "Session", "Last"), rows=looks),
        )


def _token_state(row: ObservationToken) -> SafeString:
    if row.revoked_at is not None:
        return show.badge("revoked")
    gone = row.expires_at is not None and row.expires_at <= clock.now()
    return show.badge("expired" if gone else "ok" if row.expires_at is None else "draining")


@admin.register(ObservationToken)
class ObservationTokenAdmin(ConsoleAdmin):
    """The upload tokens; they are rotated and revoked on the page of their source."""

    plural, singular, public_id = "Upload tokens", "Upload token", "token_id"
    empty = "No upload token. One is made with each observation source."

    list_display = ("short_id", "source_link", "state", "used", "expires", "born", "created_by")
    source_link = show.link_to("source", "source_id", "source")
    list_select_related = ("source",)
    fields = ("token_id", "source", "state", "created_by", "born", "expires", "used", "ended")
    short_id = show.id_of("token_id")
    born = show.age_of("created_at", "made")
    expires = show.age_of("expires_at", "expires")
    used = show.age_of("last_used_at", "last used")
    ended = show.age_of("revoked_at", "revoked")

    @admin.display(description="state")
    def state(self, row: ObservationToken) -> SafeString:
        """Accepted, accepted until its grace period ends, or ended."""
        return _token_state(row)


@admin.register(Observation)
class ObservationAdmin(ConsoleAdmin):
    """The observations: facts, never content."""

    plural, singular, public_id = "Observations", "Observation", "observation_id"
    menu = "Connect"
    empty = "Nothing was sent yet. A device uploads with the token of its source."
    verbs = (PURGE,)

    list_display = ("short_id", "source_link", "state", "media_type", "size_bytes", "stream_id", "received")
    source_link = show.link_to("source", "source_id", "source")
    list_filter = ("source", "purge_reason")
    list_select_related = ("source",)
    search_fields = ("observation_id__exact", "stream_id__exact", "capture_group_id__exact")
    search_help_text = "An id, a stream or a capture group"
    fields = (
        "observation_id", "source", "state", "media_type", "size_bytes", "stream_id", "capture_group_id",
        "captured", "received", "purged", "purge_reason",
        "name_shown", "metadata_shown", "asset_link", "sha256",
    )  # fmt: skip
    withheld = frozenset({"name_shown", "metadata_shown", "asset_link", "sha256"})
    """The fields of a sensitive observation that a viewer does not see."""
    short_id = show.id_of("observation_id")
    captured = show.age_of("captured_at", "captured")
    received = show.age_of("received_at", "received")
    purged = show.age_of("purged_at", "purged")
    metadata_shown = show.json_of("metadata")
    name_shown = show.line_of("file_name", "file name")
    asset_link = show.link_to("asset", "asset_id", "asset")

    def get_fields(self, request: HttpRequest, obj: Observation | None = None) -> Any:
        """Leave out the fields hidden from this person."""
        hidden = obj is not None and projections.withheld(obj, principal(request))
        return tuple(name for name in self.fields if not (hidden and name in self.withheld))

    @admin.display(description="state")
    def state(self, row: Observation) -> SafeString:
        """Whether its content is kept."""
        return show.badge("ok" if row.purged_at is None else "purged")

    def status_line(self, row: Observation) -> Sequence[Any]:
        """Its state."""
        return (self.state(row),)


@admin.register(MaterializationSchedule)
class MaterializationScheduleAdmin(ConsoleAdmin):
    """The schedules by which sources are shown to agents."""

    plural, singular, public_id = "Observation schedules", "Observation schedule", "schedule_id"
    empty = "Nothing is looked at by itself. An operator can schedule it."
    empty_command = "python3 manage.py observations schedules create desk demo 'Look.' --every-seconds 600"
    verbs = (UNSCHEDULE,)

    list_display = ("short_id", "source_link", "session_link", "every", "due", "last_outcome", "run")
    source_link = show.link_to("source", "source_id", "source")
    session_link = show.link_to("session", "session_id", "session")
    list_filter = ("source",)
    list_select_related = ("source", "session", "last_run")
    fields = (
        "schedule_id", "source", "session", "every", "new_only", "prompt_shown", "options_shown",
        "due", "fired", "last_outcome", "detail_shown", "run", "created_by", "born",
    )  # fmt: skip
    short_id = show.id_of("schedule_id")
    due = show.age_of("next_due_at", "next")
    fired = show.age_of("last_fired_at", "last fired")
    born = show.age_of("created_at", "made")
    prompt_shown = show.text_of("prompt")
    options_shown = show.json_of("options")
    detail_shown = show.line_of("last_detail", "last refusal")
    run = show.link_to("last_run", "run_id", "last run")

    @admin.display(description="every")
    def every(self, row: MaterializationSchedule) -> str:
        """How often it fires."""
        return show.span(row.interval_seconds)


@admin.register(Materialization)
class MaterializationAdmin(ConsoleAdmin):
    """Which observations became which run."""

    plural, singular, public_id = "Materializations", "Materialization", "materialization_id"
    empty = "No observation was shown to an agent yet."

    list_display = ("short_id", "of_run", "schedule", "requested_by", "born")
    list_select_related = ("run", "schedule")
    fields = (
        "materialization_id", "of_run", "schedule", "due", "selector_shown", "observations_shown",
        "requested_by", "born",
    )  # fmt: skip
    short_id = show.id_of("materialization_id")
    of_run = show.link_to("run", "run_id", "run")
    due = show.age_of("due_at", "stands for")
    born = show.age_of("created_at", "made")
    selector_shown = show.json_of("selector")
    observations_shown = show.json_of("observation_ids", "observations")

"""Deliveries and their targets: what leaves, what did not arrive, and what to do about it."""

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from connectors_app.models import (
    WAITING_TO_LEAVE,
    Delivery,
    DeliveryDecision,
    DeliveryStatus,
    DeliveryTarget,
)
from connectors_app.services.deliveries import attachments, control, find, operate
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.filters import ByStatus
from sessions_app.admin.verbs import Act, Cleaned, NothingToSay, Outcome, ReasonForm, Tone, Verb
from sessions_app.models import Asset
from sessions_app.services.principal import Principal


class ReplayForm(forms.Form):
    """The form that sends a dead letter again."""

    force = forms.BooleanField(required=False, help_text="Also when there is a replay already.")


def _replay(row: Delivery, cleaned: Cleaned, principal: Principal) -> Outcome:
    replay, is_new = operate.replay(row.delivery_id, force=bool(cleaned.get("force")), principal=principal)
    return Outcome(word="" if is_new else "replayed before", row=replay)


def _resolve(row: Delivery, cleaned: Cleaned, principal: Principal) -> None:
    operate.resolve(row.delivery_id, reason=cleaned["reason"], principal=principal)


def _deciding(outcome: DeliveryDecision) -> Act:
    def act(row: Delivery, cleaned: Cleaned, principal: Principal) -> None:
        operate.decide(row.delivery_id, outcome, reason=cleaned["reason"], principal=principal)

    return act


def _decision(outcome: DeliveryDecision, label: str, past: str, explain: str, *, tone: Tone = "") -> Verb:
    return Verb(
        name=outcome.value,
        label=label,
        past=past,
        act=_deciding(outcome),
        form=ReasonForm,
        applies=lambda row: row.status == DeliveryStatus.UNKNOWN,
        tone=tone,
        explain=explain,
    )


VERBS = (
    Verb(
        name="replay",
        label="Send again",
        past="sent again",
        act=_replay,
        form_for=lambda row: NothingToSay if row is None else ReplayForm,
        applies=lambda row: row.status == DeliveryStatus.DEAD_LETTERED,
        explain="A new delivery at the end of the target's queue. The dead letter stays as it is.",
    ),
    Verb(
        name="resolve",
        label="Resolve",
        past="resolved",
        act=_resolve,
        form=ReasonForm,
        applies=lambda row: row.status == DeliveryStatus.DEAD_LETTERED and row.resolved_at is None,
        explain="It needs no more attention. It stays a dead letter.",
    ),
    _decision(
        DeliveryDecision.HAPPENED,
        "It arrived",
        "settled as delivered",
        "The target has it. Nothing is sent again.",
        tone="good",
    ),
    _decision(
        DeliveryDecision.NOT_HAPPENED,
        "It did not, send it again",
        "sent again",
        "The target does not have it. A new delivery goes to the end of its queue.",
    ),
    _decision(
        DeliveryDecision.GIVE_UP,
        "Give up",
        "given up",
        "It becomes a dead letter that is dealt with.",
        tone="danger",
    ),
)


class ByNeed(admin.SimpleListFilter):
    """Filters for deliveries that nobody has dealt with yet."""

    title, parameter_name = "needs", "needs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Return the only choice."""
        return (("person", "a person"),)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        """Keep dead letters and unknown outcomes that are not resolved."""
        return queryset.filter(find.TROUBLE) if self.value() == "person" else queryset


_DECIDED: Any = ("A person said", {"fields": ("decision", "resolved", "resolved_by", "why", "source_link")})
_CAME: Any = (
    "What came of it",
    {"fields": ("last_error_json", "terminal_error_json", "said", "detail_json")},
)


@admin.register(Delivery)
class DeliveryAdmin(ConsoleAdmin):
    """The deliveries and their outcomes."""

    plural, singular, public_id, menu = "Deliveries", "Delivery", "delivery_id", "Connect"
    empty = "Nothing was sent out yet. Give a session reply targets, and its answers appear here."
    verbs = VERBS

    list_display = ("shown_id", "shown_status", "target_link", "session_link", "run_link", "attempts", "born")
    list_filter = (ByNeed, ("status", ByStatus), "kind", "target__plugin")
    search_fields = ("delivery_id__exact", "run__run_id__exact", "session__session_id__startswith")
    search_help_text = "A delivery or run id, or the beginning of a session's name"
    fieldsets = (
        ("Delivery", {"fields": ("target_link", "kind", "attempts", "next_at", "attempted", "settled")}),
        _CAME,
        _DECIDED,
        ("Where from", {"fields": ("session_link", "run_link", "born")}),
        ("What it says", {"fields": ("content_text", "parts_json", "files", "metadata_json")}),
    )
    shown_id = show.id_of("delivery_id", "delivery")
    shown_status = show.status_of()
    target_link = show.link_to("target", "name", "target")
    session_link = show.link_to("session", "session_id", "session")
    run_link = show.link_to("run", "run_id", "run")
    source_link = show.link_to("replayed_from", "delivery_id", "replay of")
    born = show.age_of("created_at", "queued")
    next_at = show.age_of("next_attempt_at", "next attempt")
    attempted = show.age_of("attempted_at", "last attempt")
    settled = show.age_of("settled_at", "settled")
    resolved = show.age_of("resolved_at", "resolved")
    why = show.line_of("resolution_reason", "reason")
    said = show.line_of("reference", "the target's own name for it")
    content_text = show.text_of("content")
    parts_json = show.json_of("parts")
    metadata_json = show.json_of("metadata")
    detail_json = show.json_of("detail")
    last_error_json = show.json_of("last_error")
    terminal_error_json = show.json_of("terminal_error")

    def get_queryset(self, request: Any) -> Any:
        """Read what the list shows; the content is read on a delivery's own page."""
        return find.rows().order_by("-id")

    def get_fieldsets(self, request: HttpRequest, obj: Delivery | None = None) -> Any:
        """Leave out the fields that are still empty."""
        left_out = []
        if obj is not None and not obj.attempts:
            left_out.append(_CAME)
        if obj is not None and not (obj.decision or obj.resolved_at or obj.replayed_from_id):
            left_out.append(_DECIDED)
        return [part for part in self.fieldsets if part not in left_out]

    @admin.display(description="files")
    def files(self, row: Delivery) -> SafeString | str:
        """Its attachments, each linked to its page."""
        if not row.attachments:
            return show.NOTHING
        names = attachments.names_of(row)
        stored = Asset.objects.in_bulk(row.attachments, field_name="asset_id")
        lines = [
            (show.link(found, show.redact(names.get(asset_id) or found.file_name)) if found else asset_id,)
            for asset_id, found in ((asset_id, stored.get(asset_id)) for asset_id in row.attachments)
        ]
        return format_html_join(mark_safe("<br>"), "{}", lines)

    def status_line(self, row: Delivery) -> Sequence[Any]:
        """Status and age."""
        return (show.badge(row.status), format_html("queued {}", show.age(row.created_at)))

    def facts(self, row: Delivery) -> Sequence[tuple[str, Any]]:
        """Return the facts a person must have seen to decide."""
        return (
            ("Delivery", show.link(row, show.short(row.delivery_id))),
            ("Status", show.badge(row.status)),
            ("Target", show.link(row.target, row.target.name)),
            ("Session", show.link(row.session, row.session.session_id)),
            ("Last error", show.json_block(row.last_error)),
            ("What it says", show.block(row.content)),
            ("Files", self.files(row)),
        )


def _pause(row: DeliveryTarget, cleaned: Cleaned, principal: Principal) -> None:
    control.pause(row.digest, principal=principal)


def _resume(row: DeliveryTarget, cleaned: Cleaned, principal: Principal) -> None:
    control.resume(row.digest, principal=principal)


def _reset(row: DeliveryTarget, cleaned: Cleaned, principal: Principal) -> None:
    control.reset_backpressure(digest=row.digest, principal=principal)


@admin.register(DeliveryTarget)
class DeliveryTargetAdmin(ConsoleAdmin):
    """The targets, each with its queue. An address is never shown."""

    plural, singular, menu = "Delivery targets", "Delivery target", "Connect"
    empty = "Nothing was sent out yet. Give a session reply targets, and where its answers go appears here."
    verbs = (
        Verb(
            name="pause",
            label="Pause",
            past="paused",
            act=_pause,
            applies=lambda row: row.paused_at is None,
            explain="What is being sent ends; the rest of the queue waits.",
        ),
        Verb(
            name="resume",
            label="Resume",
            past="resumed",
            act=_resume,
            applies=lambda row: row.paused_at is not None,
        ),
        Verb(
            name="reset",
            label="Forget failures",
            past="forgiven",
            act=_reset,
            applies=lambda row: bool(row.failures or row.circuit_open_until),
            explain="Closes the circuit; the head is tried when its own wait is over.",
        ),
    )

    list_display = ("short_name", "shown_state", "through", "failures", "head_due", "last")
    list_filter = ("plugin",)
    search_fields = ("digest__startswith", "name__exact", "connector_name__exact")
    search_help_text = "A digest or shown name, or a connector"
    fields = (
        "digest", "plugin", "through", "shown_queue", "failures", "circuit", "paused", "paused_by",
        "head_due", "last", "lease_owner", "lease_epoch",
    )  # fmt: skip
    circuit = show.age_of("circuit_open_until", "circuit open until")
    paused = show.age_of("paused_at", "paused")
    head_due = show.age_of("next_at", "next due")
    short_name = show.id_of("name", "target")
    through = show.line_of("connector_name", "connector")
    last = show.age_of("last_attempt_at", "last attempt")

    @admin.display(description="waiting")
    def shown_queue(self, row: DeliveryTarget) -> int:
        """How many deliveries wait to leave."""
        return row.deliveries.filter(status__in=sorted(WAITING_TO_LEAVE)).count()

    @admin.display(description="state")
    def shown_state(self, row: DeliveryTarget) -> SafeString:
        """Paused, circuit open, sending, waiting or idle."""
        return state(row)

    def status_line(self, row: DeliveryTarget) -> Sequence[Any]:
        """State and age."""
        return (state(row), format_html("known since {}", show.age(row.created_at)))

    def sections(self, row: DeliveryTarget) -> Sequence[Section]:
        """Its deliveries."""
        rows = [
            (
                show.link(item, show.short(item.delivery_id)),
                show.badge(item.status),
                show.link(item.session, item.session.session_id),
                item.attempts,
                show.age(item.created_at),
            )
            for item in latest(find.rows().filter(target=row))
        ]
        columns = ("delivery", "status", "session", "attempts", "queued")
        more = all_of(Delivery, target__id__exact=row.pk)
        return (Section(title="Deliveries", columns=columns, rows=rows, more=more),)


def state(row: DeliveryTarget) -> SafeString:
    """Return what a target is doing as a badge."""
    if row.paused_at is not None:
        return show.badge_as("wait", "paused")
    if row.circuit_open_until is not None:
        return show.badge_as("bad", "circuit open")
    if row.lease_owner:
        return show.badge_as("busy", "sending")
    return show.badge_as("wait", "waiting") if row.next_at is not None else show.badge_as("calm", "idle")

"""Connectors: their settings and state, what came in, and what was refused."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from rest_framework.serializers import ValidationError

from connectors_app.models import ChatIdentity, Connector, IngressReceipt, IngressRefusal
from connectors_app.services import connectors, connectors_file, ingress, registry
from connectors_app.services.projections import connector_views
from kheish_site.lib.errors import BadRequest
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section, all_of, latest
from sessions_app.admin.forms import JsonArea, RevisedForm, last_hand, still_shown, unmasked
from sessions_app.admin.personas import NAME
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Role
from sessions_app.services.principal import Principal


def _kinds() -> list[tuple[str, str]]:
    return [(name, name) for name in registry.kind_names()]


class ConnectorForm(forms.Form):
    """Settings, and where the secrets come from. Values of secrets are never shown."""

    settings = JsonArea(rows=12, required=False, help_text="Absent members keep their stored value.")
    secrets = JsonArea(
        rows=4,
        secret=True,
        required=False,
        help_text='{"bearer_token": {"secret_ref": SLOT}} or {"env": NAME}, or {"value": …}; null clears it. '
        "Never sent back to you: after an error, write it again.",
    )


class ChangedConnectorForm(RevisedForm, ConnectorForm):
    """The new definition of a connector."""


class NewConnectorForm(ConnectorForm):
    """A new connector."""

    kind = forms.ChoiceField(choices=_kinds)
    name = forms.CharField(max_length=100, validators=[NAME])
    field_order = ("kind", "name")


def _put(
    kind: str, name: str, fields: Cleaned, principal: Principal, expected: frozenset[int] | None = None
) -> Outcome:
    settings, given = fields["settings"], fields["secrets"]
    try:
        row, _ = connectors.put(kind, name, settings, given, principal=principal.name, expected=expected)
    except ValidationError as error:
        raise BadRequest(str(error.detail)) from error
    return Outcome(row=row)


def _create(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    return _put(cleaned["kind"], cleaned["name"], cleaned, principal)


def _change(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    with still_shown(cleaned, row.revision, last_hand("connector", str(row))):
        fields = unmasked(cleaned, {"settings": connectors.shown_settings(row)})
        return _put(row.kind, row.name, fields, principal, frozenset({cleaned["revision"]}))


def _pause(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    return Outcome(row=connectors.set_paused(row.kind, row.name, True, principal=principal.name))


def _resume(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    return Outcome(row=connectors.set_paused(row.kind, row.name, False, principal=principal.name))


def _enable(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    return Outcome(row=connectors.set_enabled(row.kind, row.name, True))


def _disable(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    return Outcome(row=connectors.set_enabled(row.kind, row.name, False))


def _delete(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    connectors_file.remove(row.kind, row.name)
    return Outcome(row=Connector())


def _test(row: Connector, cleaned: Cleaned, principal: Principal) -> Outcome:
    connector = connectors.admitted(row.kind, row.name)
    event = connectors.trial(connector)
    return Outcome(word="test event sent", row=ingress.accept(connector, event).run)


CREATE = Verb(
    name="connector", label="New connector", past="made", act=_create, role=Role.ADMIN, form=NewConnectorForm
)
CHANGE = Verb(
    name="change",
    label="Change",
    past="changed",
    act=_change,
    role=Role.ADMIN,
    form=ChangedConnectorForm,
    initial=lambda row: {"settings": connectors.shown_settings(row), "revision": row.revision},
    applies=lambda row: row.source == "daemon",
    many=False,
    explain="Holds from the next event on. Secrets that are not named stay as they are.",
)
TEST = Verb(
    name="test",
    label="Test event",
    past="tested",
    act=_test,
    keyed=True,
    applies=lambda row: row.enabled and row.paused_at is None,
    many=False,
    explain="Makes a real run in the session that a real event would reach.",
)
PAUSE = Verb(
    name="pause",
    label="Pause",
    past="paused",
    act=_pause,
    applies=lambda row: row.paused_at is None,
    explain="Events are answered 503, so that their senders come back.",
)
RESUME = Verb(
    name="resume", label="Resume", past="resumed", act=_resume, applies=lambda row: row.paused_at is not None
)
ENABLE = Verb(
    name="enable",
    label="Enable",
    past="enabled",
    act=_enable,
    role=Role.ADMIN,
    applies=lambda row: not row.enabled,
)
DISABLE = Verb(
    name="disable",
    label="Disable",
    past="disabled",
    act=_disable,
    role=Role.ADMIN,
    applies=lambda row: row.enabled,
)
DELETE = Verb(
    name="delete",
    label="Remove",
    past="removed",
    act=_delete,
    role=Role.ADMIN,
    applies=connectors_file.removable,
    tone="danger",
    many=False,
    explain="Its secrets go with it; what it accepted stays known.",
)


@admin.register(Connector)
class ConnectorAdmin(ConsoleAdmin):
    """The connectors."""

    plural, singular, menu = "Connectors", "Connector", "Connect"
    empty = "No connector. Make one here, or on the command line: connectors set http NAME."
    verbs, creates = (TEST, CHANGE, PAUSE, RESUME, ENABLE, DISABLE, DELETE), (CREATE,)

    list_display = ("__str__", "state", "last_event", "events", "repeats", "refused", "source", "changed")
    list_filter = ("kind", "source", "enabled")
    search_fields = ("name__startswith",)
    search_help_text = "The beginning of a name"
    fields = (
        "kind", "name", "source", "settings_json", "secrets_json", "enabled", "paused", "paused_by",
        "revision", "changed",
    )  # fmt: skip
    changed = show.age_of("updated_at", "changed")
    paused = show.age_of("paused_at", "paused")
    secrets_json = show.json_of("secrets")

    def get_queryset(self, request: HttpRequest) -> Any:
        """Leave out removed connectors."""
        return super().get_queryset(request).filter(removed_at=None)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Read the views of all shown connectors at once."""
        shown = super().get_changelist_instance(request)
        rows = list(shown.result_list)
        for row, view in zip(rows, connector_views(rows), strict=True):
            row.console_view = view
        shown.result_list = rows
        return shown

    def title_of(self, row: Connector) -> str:
        """Return kind and name."""
        return f"Connector {row}"

    @admin.display(description="settings")
    def settings_json(self, row: Connector) -> Any:
        """The settings without secrets."""
        return show.json_block(connectors.shown_settings(row))

    @admin.display(description="status")
    def state(self, row: Connector) -> SafeString:
        """Whether it takes events."""
        return show.badge(_view(row)["status"])

    @admin.display(description="last event")
    def last_event(self, row: Connector) -> Any:
        """When the newest event was accepted."""
        return _ago(_view(row)["activity"]["last_event_at"])

    @admin.display(description="events in the last hour")
    def events(self, row: Connector) -> int:
        """How many events were accepted lately."""
        return int(_view(row)["activity"]["accepted_events"])

    @admin.display(description="repeats")
    def repeats(self, row: Connector) -> int:
        """How many repeats came lately."""
        return int(_view(row)["activity"]["duplicate_events"])

    @admin.display(description="refused")
    def refused(self, row: Connector) -> int:
        """How many events were ever refused."""
        return int(_view(row)["activity"]["refused_events"])

    def status_line(self, row: Connector) -> Sequence[Any]:
        """Whether it takes events, what keeps it from working, and when the last one came."""
        newest = _view(row)["activity"]["last_event_at"]
        came = format_html("last event {}", _ago(newest)) if newest else "no event yet"
        return (self.state(row), *_view(row)["problems"], came)

    def sections(self, row: Connector) -> Sequence[Section]:
        """What came in, and what was refused."""
        receipts = latest(IngressReceipt.objects.filter(connector=row).select_related("run", "session"))
        refusals = _view(row)["activity"]["refusals"]
        people = latest(ChatIdentity.objects.filter(connector=row))
        return (
            Section(
                title="Last events",
                columns=("accepted", "run", "session", "repeats"),
                rows=[
                    (
                        show.age(receipt.accepted_at),
                        show.link(receipt.run, show.short(receipt.run.run_id))
                        if receipt.run
                        else show.NOTHING,
                        show.link(receipt.session, receipt.session.session_id)
                        if receipt.session
                        else show.NOTHING,
                        receipt.duplicates,
                    )
                    for receipt in receipts
                ],
                more=all_of(IngressReceipt, connector__id__exact=row.pk),
                empty="No event yet. Send a test event.",
            ),
            Section(
                title="Refused",
                columns=("reason", "times", "last", "detail"),
                rows=[
                    (item["code"], item["count"], _ago(item["last_at"]), item["detail"]) for item in refusals
                ],
                more=all_of(IngressRefusal, connector__id__exact=row.pk),
            ),
            Section(
                title="People who may decide by its buttons",
                columns=("person", "acts as", "role"),
                rows=[
                    (show.link(one, one.external_id), one.principal, one.get_role_display()) for one in people
                ],
                more=all_of(ChatIdentity, connector__id__exact=row.pk),
            ),
        )


def _ago(moment: str | None) -> Any:
    return show.age(datetime.fromisoformat(moment) if moment else None)


def _view(row: Connector) -> dict[str, Any]:
    known: dict[str, Any] | None = getattr(row, "console_view", None)
    if known is None:
        row.console_view = known = connector_views([row])[0]  # type: ignore[attr-defined]
    return known

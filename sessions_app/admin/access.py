"""Secret slots, tokens and remembered answers. No page here shows a value, a sealed value or a hash."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.utils.safestring import SafeString

from kheish_site.lib import clock
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.personas import NAME
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import ApiToken, IdempotencyRecord, Right, Role, SecretSlot
from sessions_app.services import secrets, tokens
from sessions_app.services.principal import Principal


class ValueForm(forms.Form):
    """The new value of a slot. It is never sent back to the browser."""

    value = forms.CharField(
        strip=False,
        max_length=secrets.LARGEST_VALUE,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="Sealed at rest, and shown to nobody again.",
    )


class NewSlotForm(ValueForm):
    """A slot to create or overwrite."""

    slot_id = forms.CharField(max_length=200, validators=[NAME])
    provider = forms.CharField(max_length=200, required=False)
    field_order = ("slot_id", "provider", "value")


def _store(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    slot, made = secrets.put(cleaned["slot_id"], provider=cleaned["provider"], value=cleaned["value"])
    return Outcome(row=slot, word="stored" if made else "rotated")


def _rotate(row: SecretSlot, cleaned: Cleaned, principal: Principal) -> Outcome:
    slot, _ = secrets.put(row.slot_id, provider=row.provider, mode=row.mode, value=cleaned["value"])
    return Outcome(row=slot)


def _forget(row: SecretSlot, cleaned: Cleaned, principal: Principal) -> Outcome:
    secrets.delete(row.slot_id)
    return Outcome(row=SecretSlot())


STORE = Verb(
    name="slot", label="Store a secret", past="stored", act=_store, role=Role.ADMIN, form=NewSlotForm
)
ROTATE = Verb(
    name="rotate",
    label="Rotate",
    past="rotated",
    act=_rotate,
    role=Role.ADMIN,
    form=ValueForm,
    many=False,
    explain="Runs use the new value from their next model call on.",
)
FORGET = Verb(
    name="delete",
    label="Delete",
    past="deleted",
    act=_forget,
    role=Role.ADMIN,
    tone="danger",
    many=False,
    explain="Refused while a route names it.",
)


@admin.register(SecretSlot)
class SecretSlotAdmin(ConsoleAdmin):
    """The slots: their names, never their values."""

    plural, singular, public_id = "Secret slots", "Secret slot", "slot_id"
    empty = "No secret is stored. Routes name a slot in auth_ref; the value goes in once and never comes out."
    empty_command = "python3 manage.py secrets set openai --provider openai"
    verbs, creates = (ROTATE, FORGET), (STORE,)

    list_display = ("slot_id", "state", "provider", "mode", "revision", "changed")
    search_fields = ("slot_id__startswith", "provider__exact")
    search_help_text = "The beginning of a slot's name, or a provider"
    fields = ("slot_id", "provider", "mode", "state", "revision", "used_by", "born", "changed")
    changed = show.age_of("updated_at", "last written")
    born = show.age_of("created_at", "created")

    @admin.display(description="state")
    def state(self, row: SecretSlot) -> SafeString:
        """Whether the value can be read with the master key."""
        return show.badge("ok" if secrets.is_readable(row) else "missing")

    @admin.display(description="used by")
    def used_by(self, row: SecretSlot) -> str:
        """The routes and connectors that name it."""
        return ", ".join(secrets.references([row.slot_id])[row.slot_id]) or show.NOTHING


class TokenForm(forms.Form):
    """A new token."""

    name = forms.CharField(max_length=200, validators=[NAME], help_text="Records of who did what carry it.")
    role = forms.ChoiceField(choices=Role.choices)
    rights = forms.MultipleChoiceField(
        choices=Right.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="For an operator's token; an admin's may do it all.",
    )
    days = forms.IntegerField(
        required=False, min_value=1, max_value=3_650, label="Expires after days", help_text="Empty: never."
    )


def _issue(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    until = clock.now() + timedelta(days=cleaned["days"]) if cleaned["days"] else None
    _, secret = tokens.create(
        cleaned["name"],
        role=cleaned["role"],
        rights=cleaned["rights"],
        created_by=principal.name,
        expires_at=until,
    )
    return Outcome(once=secret)


def _revoke(row: ApiToken, cleaned: Cleaned, principal: Principal) -> None:
    tokens.revoke(row.token_id)


ISSUE = Verb(
    name="token",
    label="New token",
    past="token made",
    act=_issue,
    role=Role.ADMIN,
    form=TokenForm,
    keyed=True,
)
REVOKE = Verb(
    name="revoke",
    label="Revoke",
    past="revoked",
    act=_revoke,
    role=Role.ADMIN,
    applies=lambda row: row.revoked_at is None,
    tone="danger",
    explain="Whoever uses it is refused from now on. A new one must be made to undo this.",
)


@admin.register(ApiToken)
class ApiTokenAdmin(ConsoleAdmin):
    """The tokens of the API."""

    plural, singular, public_id = "API tokens", "API token", "token_id"
    empty = "No token. The service writes one for this machine when it starts."
    verbs, creates = (REVOKE,), (ISSUE,)

    list_display = ("name", "state", "role", "used", "expires", "born", "created_by")
    list_filter = ("role",)
    search_fields = ("name__startswith", "token_id__exact")
    search_help_text = "The beginning of a name, or a token id"
    fields = (
        "token_id",
        "name",
        "role",
        "held_rights",
        "state",
        "created_by",
        "born",
        "expires",
        "used",
        "ended",
    )
    born = show.age_of("created_at", "made")
    expires = show.age_of("expires_at", "expires")
    used = show.age_of("last_used_at", "last used")
    ended = show.age_of("revoked_at", "revoked")

    @admin.display(description="rights")
    def held_rights(self, row: ApiToken) -> str:
        """Its rights beside its role."""
        return ", ".join(row.rights) or show.NOTHING

    @admin.display(description="state")
    def state(self, row: ApiToken) -> SafeString:
        """Active, expired or revoked."""
        if row.revoked_at is not None:
            return show.badge("revoked")
        gone = row.expires_at is not None and row.expires_at <= clock.now()
        return show.badge("expired" if gone else "ok")

    def title_of(self, row: ApiToken) -> str:
        """Its name."""
        return f"API token {row.name}"

    def facts(self, row: ApiToken) -> Sequence[tuple[str, Any]]:
        """Its owner."""
        return (("Token", show.link(row, row.name)), ("Role", row.role), ("State", self.state(row)))


@admin.register(IdempotencyRecord)
class IdempotencyAdmin(ConsoleAdmin):
    """First answers to repeated requests. Their bodies may hold secrets that were shown once: not here."""

    view_role = Role.ADMIN  # it says who asked for what, and when
    plural, singular = "Remembered answers", "Remembered answer"
    empty = "No request with an Idempotency-Key is remembered."

    list_display = ("__str__", "principal", "status", "made")
    list_filter = ("status",)
    search_fields = ("principal__exact",)
    search_help_text = "The name of a caller"
    fields = ("principal", "key_digest", "fingerprint", "status", "made")
    made = show.age_of("created_at", "answered")

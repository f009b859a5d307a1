"""The people of a platform who may decide with its buttons."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin

from connectors_app.admin.shown import connector_link
from connectors_app.models import ChatIdentity
from connectors_app.services import connectors, identities
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Role
from sessions_app.services.principal import Principal


class RoleForm(forms.Form):
    """The principal a person acts as, and the highest role they may use."""

    principal = forms.CharField(max_length=200, help_text="The name of an active account or of a live token.")
    role = forms.ChoiceField(
        choices=Role.choices, initial=Role.OPERATOR, help_text="Never more than the account itself holds."
    )


class PersonForm(RoleForm):
    """A new mapping."""

    connector = forms.ModelChoiceField(queryset=connectors.everything())
    external_id = forms.CharField(
        max_length=identities.LONGEST_ID, label="Person", help_text="The id by which the platform knows them."
    )
    field_order = ("connector", "external_id", "principal", "role")


def _map(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    made, new = identities.put(
        cleaned["connector"],
        cleaned["external_id"],
        principal=cleaned["principal"],
        role=cleaned["role"],
        by=principal,
    )
    return Outcome(row=made, word="mapped" if new else "mapped anew")


def _change(row: ChatIdentity, cleaned: Cleaned, principal: Principal) -> Outcome:
    made, _ = identities.put(
        row.connector, row.external_id, principal=cleaned["principal"], role=cleaned["role"], by=principal
    )
    return Outcome(row=made)


def _forget(row: ChatIdentity, cleaned: Cleaned, principal: Principal) -> Outcome:
    identities.delete(row.connector, row.external_id, by=principal)
    return Outcome(row=ChatIdentity())


MAP = Verb(name="person", label="Map a person", past="mapped", act=_map, role=Role.ADMIN, form=PersonForm)
CHANGE = Verb(
    name="change",
    label="Map anew",
    past="mapped anew",
    act=_change,
    role=Role.ADMIN,
    form=RoleForm,
    initial=lambda row: {"principal": row.principal, "role": row.role},
    many=False,
)
FORGET = Verb(
    name="forget",
    label="Forget",
    past="forgotten",
    act=_forget,
    role=Role.ADMIN,
    tone="danger",
    explain="Their buttons decide nothing from now on.",
)


@admin.register(ChatIdentity)
class ChatIdentityAdmin(ConsoleAdmin):
    """The people who decide from a chat, and the principals they act as."""

    plural, singular, menu = "People in chats", "Person", "Connect"
    empty = "Nobody may decide from a chat: map the people of a platform to accounts first."
    empty_command = "python3 manage.py identities set slack NAME PERSON ACCOUNT"
    verbs, creates = (CHANGE, FORGET), (MAP,)

    list_display = ("external_id", "connector_link", "acts_as", "role", "born", "created_by")
    list_filter = ("role", "connector")
    list_select_related = ("connector",)
    search_fields = ("external_id__startswith", "principal__exact")
    search_help_text = "The beginning of a platform's id, or the name of an account"
    fields = ("external_id", "connector_link", "acts_as", "role", "now", "created_by", "born")
    connector_link = connector_link
    acts_as = show.line_of("principal", "acts as")
    born = show.age_of("created_at", "mapped")

    @admin.display(description="may now act as")
    def now(self, row: ChatIdentity) -> str:
        """The role they hold at this moment."""
        held = identities.views([row])[0]["effective_role"]
        return held or "nothing: the account is deactivated, or the token revoked"

    def title_of(self, row: ChatIdentity) -> str:
        """The person."""
        return f"{row.external_id} of {row.connector}"

    def facts(self, row: ChatIdentity) -> Sequence[tuple[str, Any]]:
        """Who it is about."""
        return (("Person", show.link(row, row.external_id)), ("Acts as", row.principal), ("Role", row.role))

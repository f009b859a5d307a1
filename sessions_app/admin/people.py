"""People who sign in: for administrators. No form writes a row here; verbs call the services."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import admin as stock
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.verbs import Cleaned, NothingToSay, Outcome, ReasonForm, Verb
from sessions_app.models import Right, Role
from sessions_app.services import access, people
from sessions_app.services.principal import Principal

if admin.site.is_registered(User) and isinstance(admin.site.get_model_admin(User), stock.UserAdmin):
    admin.site.unregister((User, Group))  # whose forms write rows past the services and the audit log


class RoleForm(forms.Form):
    """What somebody may do."""

    role = forms.ChoiceField(choices=Role.choices)


class PersonForm(RoleForm):
    """Somebody new."""

    username = forms.CharField(max_length=150, help_text="Records of who did what carry it.")
    field_order = ("username", "role")


class RightsForm(forms.Form):
    """What somebody may do beside their role."""

    rights = forms.MultipleChoiceField(
        choices=Right.choices, required=False, widget=forms.CheckboxSelectMultiple
    )


def _create(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    user, password = people.create(cleaned["username"], role=cleaned["role"])
    return Outcome(row=user, once=password)


def _set_role(row: User, cleaned: Cleaned, principal: Principal) -> None:
    people.set_role(row, cleaned["role"])


def _set_rights(row: User, cleaned: Cleaned, principal: Principal) -> None:
    people.set_rights(row, cleaned["rights"])


def _deactivate(row: User, cleaned: Cleaned, principal: Principal) -> None:
    people.set_active(row, False, reason=cleaned["reason"])


def _activate(row: User, cleaned: Cleaned, principal: Principal) -> None:
    people.set_active(row, True)


def _reset_password(row: User, cleaned: Cleaned, principal: Principal) -> Outcome:
    return Outcome(once=people.reset_password(row))


def _reset_factor(row: User, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    had = people.reset_second_factor(row, reason=cleaned["reason"])
    return None if had else Outcome(word="had none")


def _verb(name: str, label: str, past: str, act: Any, form: type[forms.Form], **more: Any) -> Verb:
    return Verb(name=name, label=label, past=past, act=act, role=Role.ADMIN, form=form, many=False, **more)


NEW = _verb(
    "person",
    "New person",
    "made",
    _create,
    PersonForm,
    keyed=True,
    explain="The password is shown once, right after.",
)
ROLE = _verb(
    "role", "Set role", "role set", _set_role, RoleForm, initial=lambda row: {"role": access.role_of(row)}
)
RIGHTS = _verb(
    "rights",
    "Set rights",
    "rights set",
    _set_rights,
    RightsForm,
    initial=lambda row: {"rights": people.own_rights(row)},
    explain="For operators: an admin may do it all.",
)
DEACTIVATE = _verb(
    "deactivate",
    "Shut out",
    "shut out",
    _deactivate,
    ReasonForm,
    applies=lambda row: row.is_active,
    tone="danger",
    explain="At once, with every login. What they did stays in the records under their name.",
)
ACTIVATE = _verb(
    "activate", "Let in again", "let in", _activate, NothingToSay, applies=lambda row: not row.is_active
)
PASSWORD = _verb(
    "password",
    "Reset password",
    "password reset",
    _reset_password,
    NothingToSay,
    keyed=True,
    explain="The new one is shown once, and every login of theirs ends.",
)
FACTOR = _verb(
    "second-factor",
    "Reset second factor",
    "second factor reset",
    _reset_factor,
    ReasonForm,
    applies=lambda row: hasattr(row, "second_factor"),
    explain="For somebody who lost it. They sign in with the password and may add another one.",
)


@admin.register(User)
class PersonAdmin(ConsoleAdmin):
    """Accounts."""

    view_role = Role.ADMIN
    plural, singular, public_id = "People", "Person", "username"
    empty = "Nobody can sign in. The service makes the first login when it starts."
    verbs, creates = (ROLE, RIGHTS, PASSWORD, FACTOR, DEACTIVATE, ACTIVATE), (NEW,)

    list_display = ("username", "state", "role", "own_rights", "factor", "last")
    list_filter = ("is_active", "groups")
    search_fields = ("username__startswith",)
    search_help_text = "The beginning of a name"
    fields = ("username", "state", "role", "own_rights", "factor", "last", "born")
    last = show.age_of("last_login", "last signed in")
    born = show.age_of("date_joined", "made")

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        """Read what every row shows of groups, rights and factors at once."""
        rows: QuerySet[User] = super().get_queryset(request)
        return rows.select_related("second_factor").prefetch_related("groups", "user_permissions")

    @admin.display(description="state")
    def state(self, row: User) -> SafeString:
        """Whether they may sign in."""
        return show.badge("ok" if row.is_active else "shut_out")

    @admin.display(description="role")
    def role(self, row: User) -> str:
        """The highest role of their groups."""
        held = Role.ADMIN if row.is_superuser else access.highest({group.name for group in row.groups.all()})
        return held or show.NOTHING

    @admin.display(description="rights")
    def own_rights(self, row: User) -> str:
        """What they may do beside their role."""
        return ", ".join(people.own_rights(row)) or show.NOTHING

    @admin.display(description="second factor")
    def factor(self, row: User) -> str:
        """Whether it is on."""
        held = getattr(row, "second_factor", None)
        return "on" if held is not None and held.confirmed_at is not None else show.NOTHING

    def title_of(self, row: User) -> str:
        """Their name."""
        return f"Person {row.username}"

    def facts(self, row: User) -> Sequence[tuple[str, Any]]:
        """Who it is about."""
        return (
            ("Person", show.link(row, row.username)),
            ("Role", self.role(row)),
            ("State", self.state(row)),
        )

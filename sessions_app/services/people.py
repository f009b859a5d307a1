"""People who sign in to the console: made, given a role and rights, shut out, helped; all in the audit log.

A person's role is the one of the groups viewer, operator and admin they are in; superusers are admins.
"""

import secrets
from typing import Any, Final

from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from kheish_site.lib.errors import BadRequest, Conflict
from kheish_site.lib.transactions import exclusive, locked, write
from sessions_app.models import Right, Role
from sessions_app.services import access, accounts, audit, second_factor, tokens

_KIND: Final = "person"


class PersonInvalid(BadRequest):
    """The name, the role or the password cannot be taken."""

    code, domain = "invalid_person", "people"


class NameTaken(Conflict):
    """An account or a live token is called so: names in records must say who it was."""

    code, domain = "person_name_taken", "people"


class LastAdmin(Conflict):
    """Without this person nobody could administer any more."""

    code, domain = "last_admin", "people"


def everybody() -> QuerySet[User]:
    """Return all accounts with their groups."""
    return User.objects.prefetch_related("groups", "user_permissions")


def create(username: str, *, role: str, password: str = "") -> tuple[User, str]:
    """Make an account; return it with its password, which is made up unless one is given, and shown once.

    Raises: PersonInvalid, NameTaken.
    """
    name = username.strip()
    _check_role(role)
    if not name or len(name) > 150 or not name.isprintable():
        raise PersonInvalid("a name has 1 to 150 printable characters")
    password = password or secrets.token_urlsafe(15)
    with write():
        exclusive("tokens")
        if User.objects.filter(username__iexact=name).exists() or tokens.live_named([name]).exists():
            raise NameTaken(f"{name} is taken by an account or a token")
        accounts.ensure_groups()
        user = User(username=name, is_staff=True)
        _set_password(user, password)
        user.save()
        user.groups.add(Group.objects.get(name=role))
        audit.record("person.created", _KIND, name, after={"role": role})
    return user, password


def set_role(user: User, role: str) -> User:
    """Put a person into the group of ``role`` and out of the others. Raises: PersonInvalid, LastAdmin."""
    _check_role(role)
    with write():
        row, was = _held(user)
        if role != Role.ADMIN:
            _keep_an_admin(row, was)
            row.is_superuser = False
        row.is_staff = True
        row.save(update_fields=["is_superuser", "is_staff"])
        row.groups.remove(*Group.objects.filter(name__in=Role.values))
        row.groups.add(Group.objects.get(name=role))
        audit.record("person.role_set", _KIND, row.username, before={"role": was}, after={"role": role})
    return row


def set_rights(user: User, rights: list[str]) -> User:
    """Give a person exactly these rights (``Right``) as permissions of their own. Raises: PersonInvalid."""
    unknown = sorted(set(rights) - set(Right.values))
    if unknown:
        raise PersonInvalid(f"there is no right {unknown[0]}")
    with write():
        row, _ = _held(user)
        ours = Permission.objects.filter(content_type__app_label="sessions_app", codename__in=Right.values)
        was = own_rights(row)
        row.user_permissions.remove(*ours)
        row.user_permissions.add(*ours.filter(codename__in=rights))
        old, new = {"rights": was}, {"rights": sorted(rights)}
        audit.record("person.rights_set", _KIND, row.username, before=old, after=new)
    return row


def own_rights(user: User) -> list[str]:
    """Return the rights that are a person's own, not those of their role."""
    return sorted({item.codename for item in user.user_permissions.all()} & set(Right.values))


def set_active(user: User, active: bool, *, reason: str = "") -> User:
    """Shut a person out at once, with every login of theirs, or let them in again. Raises: LastAdmin."""
    with write():
        row, was = _held(user)
        if row.is_active == active:
            return row
        if not active:
            _keep_an_admin(row, was)
        row.is_active = active
        row.save(update_fields=["is_active"])
        action = "person.activated" if active else "person.deactivated"
        audit.record(action, _KIND, row.username, reason=reason)
    return row


def reset_password(user: User) -> str:
    """Give a person a made-up password, shown once; every login of theirs ends."""
    password = secrets.token_urlsafe(15)
    with write():
        row, _ = _held(user)
        _set_password(row, password)
        row.save(update_fields=["password"])
        audit.record("person.password_reset", _KIND, row.username)
    return password


def change_password(user: User, password: str) -> None:
    """Give a person the password they chose; their other logins end. Raises: PersonInvalid."""
    with write():
        row, _ = _held(user)
        _set_password(row, password)
        row.save(update_fields=["password"])
        audit.record("person.password_changed", _KIND, row.username)
    user.password = row.password


def reset_second_factor(user: User, *, reason: str = "") -> bool:
    """Take away the second factor of somebody who lost it; tell whether there was one."""
    return second_factor.remove(user, reason=reason)


def _held(user: User) -> tuple[User, str]:
    """Return the account under its row lock, with its role. Needs the open transaction."""
    row = locked(User.objects.filter(pk=user.pk)).get()
    return row, access.role_of(row)


def _keep_an_admin(user: User, role: str) -> None:
    if role != Role.ADMIN or not user.is_active:
        return
    exclusive("tokens")
    others = User.objects.filter(is_active=True).exclude(pk=user.pk)
    if not any(access.role_of(other) == Role.ADMIN for other in others):
        raise LastAdmin(f"{user.username} is the last who may administer")


def _check_role(role: str) -> None:
    if role not in Role.values:
        raise PersonInvalid(f"role is one of {', '.join(Role.values)}")


def _set_password(user: Any, password: str) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise PersonInvalid(" ".join(error.messages)) from error
    user.set_password(password)

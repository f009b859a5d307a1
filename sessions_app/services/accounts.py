"""People who sign in: the three groups, and the first login of a fresh installation."""

import secrets

from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q

from kheish_site.lib.transactions import write
from sessions_app.models import Right, Role

DECIDES = ("approval", "userquestion", "operatordecision", "run", "session")
"""Models whose rows an operator may act on; everything else is for reading."""

CONFIGURES = ("persona", "personarevision", "route", "secretslot", "apitoken", "runtimerevision")
"""Models an administrator may write; history is written by the services alone."""


def ensure_groups() -> None:
    """Make the groups viewer, operator and admin and give them exactly their permissions.

    A right (``Right``) is the admins'; an operator is given one as a permission of their own account, or by
    another group.
    """
    with write():
        _ensure_groups()


def _ensure_groups() -> None:
    ours = Permission.objects.filter(
        content_type__app_label__in=("sessions_app", "channels_app", "connectors_app")
    )
    given = Q(codename__in=Right.values)  # never by its name's beginning: one of them is view_unredacted
    reads = Q(codename__startswith="view_") & ~given
    acts = Q(codename__in=[f"change_{model}" for model in DECIDES])
    configures = Q(content_type__model__in=CONFIGURES)
    for role, granted in (
        (Role.VIEWER, reads),
        (Role.OPERATOR, reads | acts),
        (Role.ADMIN, reads | acts | configures | given),
    ):
        group, _ = Group.objects.get_or_create(name=role)
        group.permissions.set(ours.filter(granted).order_by().values_list("pk", flat=True))


def ensure_admin_login() -> str:
    """Make the login ``admin`` when nobody can administer yet; returns its password, or "" if it was there.

    The password is random, returned this once and stored hashed.
    """
    with write():
        return _ensure_admin_login()


def _ensure_admin_login() -> str:
    if User.objects.filter(is_superuser=True, is_active=True).exists():
        return ""
    password = secrets.token_urlsafe(15)
    user = User.objects.create(username="admin", is_staff=True, is_superuser=True)
    user.set_password(password)
    user.save(update_fields=["password"])
    user.groups.add(Group.objects.get(name=Role.ADMIN))
    return password

"""Groups and the first login."""

import pytest
from django.contrib.auth.models import Group, User

from sessions_app.services import accounts

pytestmark = pytest.mark.django_db


def codenames(group):
    return set(Group.objects.get(name=group).permissions.values_list("codename", flat=True))


def test_each_group_includes_the_one_before():
    accounts.ensure_groups()
    viewer, operator, admin = codenames("viewer"), codenames("operator"), codenames("admin")
    assert viewer < operator < admin
    assert all(name.startswith("view_") for name in viewer)
    assert "change_approval" in operator - viewer
    assert "add_route" in admin - operator


def test_nobody_may_write_history():
    accounts.ensure_groups()
    assert not {name for name in codenames("admin") if name.endswith("journalentry")} - {"view_journalentry"}


def test_groups_are_put_right_again():
    accounts.ensure_groups()
    Group.objects.get(name="viewer").permissions.clear()
    accounts.ensure_groups()
    assert codenames("viewer")


def test_the_login_is_made_once():
    accounts.ensure_groups()
    password = accounts.ensure_admin_login()
    assert User.objects.get(username="admin").check_password(password)
    assert accounts.ensure_admin_login() == ""

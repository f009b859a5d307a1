"""People: made, given roles and rights, shut out, helped; the last admin stays; looks at what is masked."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from kheish_site.lib.errors import Forbidden
from sessions_app.models import AuditEntry, Right, ToolCall
from sessions_app.services import access, exact_looks, people, tokens
from sessions_app.services.people import LastAdmin, NameTaken, PersonInvalid
from sessions_app.services.principal import Principal
from tests.factories import code_of, make_client
from tests.sessions_app.api.rows import ask_approvals, make_session

pytestmark = pytest.mark.django_db

ADA = Principal(name="ada", role="admin", auth_method="session")


def role(user: User) -> str:
    return str(access.role_of(User.objects.get(pk=user.pk)))


def last() -> AuditEntry:
    return AuditEntry.objects.order_by("-id")[0]


def test_somebody_new_has_a_role_and_a_password_shown_once() -> None:
    user, password = people.create(" lea ", role="operator")
    assert (user.username, user.is_staff, role(user)) == ("lea", True, "operator")
    assert user.check_password(password)
    assert (last().action, last().object_id, last().after) == ("person.created", "lea", {"role": "operator"})
    assert password not in str(last().after)


@pytest.mark.parametrize(
    ("name", "role", "password", "error"),
    [
        ("", "viewer", "", PersonInvalid),
        ("x" * 151, "viewer", "", PersonInvalid),
        ("lea\n", "boss", "", PersonInvalid),
        ("lea", "viewer", "short", PersonInvalid),
        ("LEO", "viewer", "", NameTaken),
        ("ci", "viewer", "", NameTaken),
    ],
)
def test_what_cannot_be_taken_is_refused(name: str, role: str, password: str, error: Any) -> None:
    people.create("leo", role="viewer")
    tokens.create("ci", role="viewer")
    with pytest.raises(error):
        people.create(name, role=role, password=password)


def test_a_role_replaces_the_others_and_rights_are_exactly_those_given() -> None:
    lea, _ = people.create("lea", role="viewer")
    oncall = Group.objects.create(name="on-call")
    lea.groups.add(oncall)
    people.set_role(lea, "operator")
    assert set(lea.groups.values_list("name", flat=True)) == {"operator", "on-call"}
    assert (last().before, last().after) == ({"role": "viewer"}, {"role": "operator"})
    people.set_rights(lea, ["decide_high_risk"])
    who = access.authenticate("", User.objects.get(pk=lea.pk))
    assert who.may(Right.DECIDE_HIGH_RISK)
    assert not who.may(Right.VIEW_UNREDACTED)
    people.set_rights(lea, [])
    assert not access.authenticate("", User.objects.get(pk=lea.pk)).may(Right.DECIDE_HIGH_RISK)
    with pytest.raises(PersonInvalid):
        people.set_rights(lea, ["fly"])


def test_the_last_admin_stays() -> None:
    ada, _ = people.create("ada", role="admin")
    with pytest.raises(LastAdmin):
        people.set_role(ada, "operator")
    with pytest.raises(LastAdmin):
        people.set_active(ada, False)
    root = User.objects.create(username="root", is_superuser=True, is_staff=True)
    people.set_role(ada, "operator")
    assert role(ada) == "operator"
    with pytest.raises(LastAdmin):
        people.set_role(root, "viewer")
    people.set_role(ada, "admin")
    people.set_role(root, "viewer")
    assert role(root) == "viewer"


def test_whoever_is_shut_out_is_out_at_once() -> None:
    lea, _ = people.create("lea", role="viewer")
    client = Client()
    client.force_login(lea)
    assert client.get("/v1/runs").status_code == 200
    people.set_active(lea, False, reason="left the team")
    people.set_active(lea, False)
    assert client.get("/v1/runs").status_code == 401
    assert (last().action, last().reason) == ("person.deactivated", "left the team")
    people.set_active(lea, True)
    assert client.get("/v1/runs").status_code == 200


def test_a_new_password_ends_every_login() -> None:
    lea, _ = people.create("lea", role="viewer")
    client = Client()
    client.force_login(lea)
    password = people.reset_password(lea)
    assert client.get("/v1/runs").status_code == 401
    assert User.objects.get(pk=lea.pk).check_password(password)
    assert last().action == "person.password_reset"


def sign_in(role: str) -> Client:
    user, _ = people.create(f"{role}-person", role=role)
    client = Client()
    client.force_login(user)
    return client


def test_the_page_is_the_admins_and_its_verbs_do_it() -> None:
    page = reverse("admin:auth_user_changelist")
    assert sign_in("operator").get(page).status_code == 403
    admin = sign_in("admin")
    assert admin.get(page).status_code == 200
    new = reverse("admin:auth_user_new", args=["person"])
    made = admin.post(new, {"username": "lea", "role": "operator", "confirmed": "yes"})
    lea = User.objects.get(username="lea")
    assert made.status_code == 200
    assert role(lea) == "operator"
    assert (last().principal, last().auth_method) == ("admin-person", "session")
    assert admin.get(reverse("admin:auth_user_change", args=["lea"])).status_code == 200
    do = reverse("admin:auth_user_do", args=["lea", "rights"])
    admin.post(do, {"rights": ["decide_high_risk"], "confirmed": "yes"})
    assert people.own_rights(User.objects.get(pk=lea.pk)) == ["decide_high_risk"]


def test_one_call_unmasked_for_those_who_may_and_each_look_on_record() -> None:
    _, (approval,) = ask_approvals(make_session())
    secret = {"command": "curl -H 'Authorization: Bearer abcdef0123456789'"}
    ToolCall.objects.update(arguments=secret)
    path = f"/v1/tool-calls/{approval.tool_call.call_id}/unredacted"
    refused = make_client("operator", rights=()).get(path)
    assert (refused.status_code, code_of(refused)) == (403, "right_missing")
    assert make_client("viewer").get(path).status_code == 403
    assert not AuditEntry.objects.filter(object_kind="tool_call").exists()
    allowed = make_client("operator", "night", rights=["view_unredacted"])
    assert allowed.get(f"{path}?reason=checking").json()["input"] == secret
    entry = AuditEntry.objects.get(object_kind="tool_call")
    assert (entry.action, entry.principal, entry.reason) == (
        "tool_call.viewed_unredacted",
        "night",
        "checking",
    )
    assert code_of(make_client().get("/v1/tool-calls/call_none/unredacted")) == "tool_call_not_found"
    with pytest.raises(Forbidden):
        exact_looks.look("call_none", principal=Principal(name="v", role="viewer", auth_method="token"))

"""Who may say yes to what: roles, the right to decide high risks, four eyes, reasons."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.exceptions import ImproperlyConfigured
from django.test import RequestFactory

from kheish_site.lib.errors import Forbidden
from kheish_site.settings import runtime
from sessions_app.admin import permits
from sessions_app.admin.approvals import ALLOW, DENY
from sessions_app.models import Approval, Right, Role
from sessions_app.services import access, accounts, approvals, tokens
from sessions_app.services.approvals import FourEyes, HighRisk, ReasonMissing, Vote
from sessions_app.services.principal import Principal
from tests.factories import code_of, make_client
from tests.sessions_app.api.rows import ask_approvals, make_session

pytestmark = pytest.mark.django_db

OLGA = Principal(name="olga", role="operator", auth_method="token")
TRUSTED = replace(OLGA, name="tina", rights=frozenset({"decide_high_risk"}))
ADA = Principal(name="ada", role="admin", auth_method="token")


@pytest.fixture
def configure(settings: Any) -> Any:
    def change(**fields: Any) -> None:
        settings.KHEISH = replace(settings.KHEISH, **fields)

    return change


def asked(risk: str = "high", **more: Any) -> Approval:
    _, (approval,) = ask_approvals(make_session(), risk=risk, **more)
    return approval


@pytest.mark.parametrize(
    ("risk", "who", "counts"),
    [
        ("low", OLGA, True),
        ("medium", OLGA, True),
        ("high", OLGA, False),
        ("high", TRUSTED, True),
        ("high", ADA, True),
    ],
)
def test_a_yes_counts_by_risk_and_right(risk: str, who: Principal, counts: bool) -> None:
    approval = asked(risk)
    if counts:
        settled = approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=who)
        assert settled.status == "allowed"
    else:
        with pytest.raises(HighRisk):
            approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=who)
        assert approvals.get(approval.approval_id).status == "pending"


def test_a_no_to_a_high_risk_needs_no_right() -> None:
    approval = asked()
    assert approvals.resolve(approval.approval_id, Vote(behavior="deny"), principal=OLGA).status == "denied"


def test_a_command_is_of_high_risk_by_itself_and_a_rule_may_say_otherwise() -> None:
    _, (approval,) = ask_approvals(make_session())
    assert approval.risk == "high"
    assert make_client("viewer").get(f"/v1/approvals/{approval.approval_id}").json()["risk"] == "high"


def test_the_api_refuses_with_the_right_that_is_missing() -> None:
    approval = asked()
    path = f"/v1/approvals/{approval.approval_id}/resolve"
    answer = make_client("operator", rights=()).post(path, {"behavior": "allow"})
    assert (answer.status_code, code_of(answer)) == (403, "approval_high_risk_forbidden")
    assert answer.json()["required_right"] == "decide_high_risk"
    assert (
        make_client("operator", rights=["decide_high_risk"]).post(path, {"behavior": "allow"}).status_code
        == 200
    )


def test_a_batch_obeys_too() -> None:
    approval = asked()
    body = {"resolutions": [{"approval_id": approval.approval_id, "behavior": "allow"}]}
    path = f"/v1/runs/{approval.run.run_id}/approvals"
    assert code_of(make_client("operator", rights=()).post(path, body)) == "approval_high_risk_forbidden"


def test_four_eyes_keeps_the_starter_from_a_high_risk_only(configure: Any) -> None:
    alice = replace(ADA, name="alice")  # who started every run here
    approval = asked()
    configure(four_eyes=True)
    with pytest.raises(FourEyes):
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=alice)
    assert approvals.refusal(approval, approval.run, "deny", alice) is None
    assert approvals.refusal(approval, approval.run, "allow", ADA) is None
    approval.risk = "medium"
    assert approvals.refusal(approval, approval.run, "allow", alice) is None
    configure(four_eyes=False)
    assert (
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=alice).status == "allowed"
    )


@pytest.mark.parametrize(
    ("wanted", "risk", "behavior", "needed"),
    [
        (("deny",), "low", "deny", True),
        (("deny",), "high", "allow", False),
        (("high",), "high", "allow", True),
        (("high",), "high", "deny", True),
        (("high",), "medium", "allow", False),
        ((), "high", "deny", False),
    ],
)
def test_a_reason_is_asked_for_where_the_policy_says(
    configure: Any, wanted: tuple[str, ...], risk: str, behavior: Any, needed: bool
) -> None:
    configure(reason_required=wanted)
    approval = asked(risk)
    if needed:
        with pytest.raises(ReasonMissing):
            approvals.resolve(approval.approval_id, Vote(behavior=behavior, reason="  "), principal=ADA)
    vote = Vote(behavior=behavior, reason="because" if needed else "")
    assert approvals.resolve(approval.approval_id, vote, principal=ADA).status in ("allowed", "denied")


@pytest.mark.parametrize(
    ("risk", "rule_seconds", "minutes"), [("high", None, 5), ("high", 3_600, 60), ("low", None, None)]
)
def test_an_approval_stays_open_as_its_rule_says_or_else_the_installation(
    configure: Any, risk: str, rule_seconds: int | None, minutes: int | None
) -> None:
    configure(approval_minutes={"low": 0, "medium": 0, "high": 5})
    approval = asked(risk, expires_after_seconds=rule_seconds)
    life = approval.expires_at and approval.expires_at - approval.created_at
    assert life == (timedelta(minutes=minutes) if minutes else None)


@pytest.mark.parametrize("written", ["-1", "soon", "525601"])
def test_a_life_that_is_none_stops_the_start(monkeypatch: Any, written: str) -> None:
    monkeypatch.setenv("KHEISH_APPROVAL_HIGH_MINUTES", written)
    with pytest.raises(ImproperlyConfigured, match="KHEISH_APPROVAL_HIGH_MINUTES"):
        runtime.load()


def test_lives_are_read_by_risk(monkeypatch: Any) -> None:
    monkeypatch.setenv("KHEISH_APPROVAL_HIGH_MINUTES", "0.5")
    monkeypatch.setenv("KHEISH_APPROVAL_LOW_MINUTES", "60")
    assert runtime.load().approval_minutes == {"low": 60, "medium": 0, "high": 0.5}


def account(role: str, *rights: str, superuser: bool = False) -> User:
    accounts.ensure_groups()
    user = User.objects.create(username=f"{role}-person", is_staff=True, is_superuser=superuser)
    if role:
        user.groups.add(Group.objects.get(name=role))
    for right in rights:
        user.user_permissions.add(Permission.objects.get(codename=right))
    return user


@pytest.mark.parametrize(
    ("role", "given", "superuser", "may"),
    [
        ("viewer", ("decide_high_risk",), False, False),
        ("operator", (), False, False),
        ("operator", ("decide_high_risk",), False, True),
        ("admin", (), False, True),
        ("", (), True, True),
    ],
)
def test_an_account_holds_rights_as_django_permissions(
    role: str, given: tuple[str, ...], superuser: bool, may: bool
) -> None:
    who = access.authenticate("", account(role, *given, superuser=superuser))
    assert who.may(Right.DECIDE_HIGH_RISK) is may
    assert who.may(Right.VIEW_UNREDACTED) is (role == "admin" or superuser)


def test_a_right_may_come_from_a_group_of_ones_own() -> None:
    user = account("operator")
    oncall = Group.objects.create(name="on-call")
    oncall.permissions.add(Permission.objects.get(codename="decide_high_risk"))
    user.groups.add(oncall)
    assert access.authenticate("", user).may(Right.DECIDE_HIGH_RISK)


def test_the_groups_hold_what_the_matrix_says() -> None:
    accounts.ensure_groups()
    held = {
        role: set(Group.objects.get(name=role).permissions.values_list("codename", flat=True))
        & set(Right.values)
        for role in Role.values
    }
    assert held == {"viewer": set(), "operator": set(), "admin": set(Right.values)}


def test_what_a_name_holds_is_what_token_and_account_both_hold() -> None:
    assert access.rights_held_by("nobody") == frozenset()
    tokens.create("olga", role="operator", rights=["decide_high_risk"])
    assert access.rights_held_by("olga") == {"decide_high_risk"}
    User.objects.create(username="olga")
    assert access.rights_held_by("olga") == frozenset()


def test_a_missing_right_is_named() -> None:
    with pytest.raises(Forbidden) as refused:
        access.require_right(OLGA, Right.VIEW_UNREDACTED)
    assert refused.value.error_code == "right_missing"


def test_a_token_is_given_rights_and_a_viewer_none() -> None:
    admin = make_client()
    body = {"name": "night", "role": "operator", "rights": ["decide_high_risk"]}
    assert admin.post("/v1/tokens", body).json()["rights"] == ["decide_high_risk"]
    assert (
        code_of(admin.post("/v1/tokens", body | {"name": "v", "role": "viewer"})) == "invalid_token_request"
    )
    assert admin.post("/v1/tokens", body | {"name": "x", "rights": ["all"]}).status_code == 400


@pytest.mark.parametrize(
    ("role", "given", "words"),
    [
        ("viewer", (), "ask for the group operator"),
        ("operator", (), "Not by you: a yes to a call of high risk needs the role admin"),
        ("operator", ("decide_high_risk",), ""),
        ("admin", (), ""),
    ],
)
def test_pages_ask_before_they_show_a_button(role: str, given: tuple[str, ...], words: str) -> None:
    request = RequestFactory().get("/")
    request.user = account(role, *given)
    approval = asked()
    refusal = permits.refusal(request, ALLOW, approval)
    assert words in refusal and bool(words) == bool(refusal)
    assert bool(permits.refusal(request, DENY, approval)) == (role == "viewer")

"""Buttons pressed in Slack."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from connectors_app.kinds.slack import answers, blocks, interactive
from connectors_app.kinds.slack.settings import options
from connectors_app.models import Connector, IngressRefusal
from connectors_app.services import button_data, identities
from connectors_app.services.contracts import Button
from kheish_site.lib.errors import BadRequest
from sessions_app.models import Approval, ExternalAction
from sessions_app.services import tokens
from sessions_app.services.principal import SYSTEM
from tests.connectors_app.kinds.slack.world import make_slack, press
from tests.factories import code_of
from tests.sessions_app.api.rows import ask_approvals, make_session
from tests.support.slack_server import SlackServer

pytestmark = pytest.mark.django_db(transaction=True)
USER, TEAM = "U2147483697", "T061EG9R6"


@pytest.fixture
def connector(slack: SlackServer) -> Connector:
    return make_slack(slack)


@pytest.fixture(autouse=True)
def finished(transactional_db: None) -> Iterator[None]:
    """No answer outlives its test: it would write into the next one's tables."""
    yield
    _finish()


def _finish() -> None:
    for thread in threading.enumerate():
        if thread.name == "slack-answer":
            thread.join(10)
            assert not thread.is_alive()


def ask(name: str = "desk") -> Approval:
    """An approval of a session that answers in Slack."""
    target = {"plugin": "slack", "address": {"connector": "ops", "channel_id": "C024BE91L"}}
    return ask_approvals(make_session(name, reply_targets=[target]))[1][0]


def known(connector: Connector, external_id: str = f"{TEAM}:{USER}", role: str = "operator") -> None:
    """Map the clicker to a token."""
    rights = ["decide_high_risk"] if role != "viewer" else []
    tokens.create("bea", role=role, rights=rights)
    identities.put(connector, external_id, principal="bea", role=role, by=SYSTEM)


def click(slack: SlackServer, approval: Approval, behavior: Any = "allow", **members: Any) -> dict[str, Any]:
    """What Slack sends of a press of a button under the notice of ``approval``."""
    data = button_data.for_approval(approval, behavior)
    return {
        "type": "block_actions",
        "api_app_id": "A0FFV41KK",
        "team": {"id": TEAM, "domain": "acme"},
        "enterprise": None,
        "user": {"id": USER, "username": "bea", "team_id": TEAM},
        "channel": {"id": "C024BE91L", "name": "ops"},
        "container": {"type": "message", "message_ts": "1.2", "channel_id": "C024BE91L"},
        "message": {
            "ts": "1.2",
            "text": "May I deploy?",
            "blocks": blocks.asking("May I deploy?", [[Button(label="Allow", data=data)]], literal=True),
        },
        "response_url": f"{slack.url}/respond",
        "actions": [{"type": "button", "action_id": "kheish:0", "value": data}],
        **members,
    }


def shown(slack: SlackServer) -> dict[str, Any]:
    """What the click made Slack show, once its thread has ended."""
    assert slack.answered.wait(10)
    _finish()
    return slack.answers[-1]


@pytest.mark.parametrize("path", ["ops", "ops/interactive"])
@pytest.mark.parametrize("behavior", ["allow", "deny"])
def test_a_press_decides_and_the_message_says_so(
    slack: SlackServer, connector: Connector, path: str, behavior: str
) -> None:
    known(connector)
    approval = ask()
    answer = press(click(slack, approval, behavior), path=path)
    assert (answer.status_code, answer.content) == (200, b"")
    approval.refresh_from_db()
    assert approval.status == {"allow": "allowed", "deny": "denied"}[behavior]
    assert approval.decision["principal"] == "bea"
    said = shown(slack)
    assert said["replace_original"] is True
    assert [block["type"] for block in said["blocks"]] == ["section", "context"]
    assert said["blocks"][1]["elements"][0]["text"] == f"bea {approval.status} bash."
    records = ExternalAction.objects.filter(kind="webhook_answer").order_by("seq")
    assert [(row.phase, row.outcome) for row in records] == [("started", ""), ("finished", "succeeded")]
    assert {row.target for row in records} == {"slack/ops"}


def test_the_users_id_alone_is_good_too(slack: SlackServer, connector: Connector) -> None:
    known(connector, USER)
    approval = ask()
    press(click(slack, approval))
    approval.refresh_from_db()
    assert approval.status == "allowed"


def test_strangers_decide_nothing_and_are_told_alone(slack: SlackServer, connector: Connector) -> None:
    approval = ask()
    assert press(click(slack, approval)).status_code == 200
    approval.refresh_from_db()
    assert approval.status == "pending"
    said = shown(slack)
    assert said["response_type"] == "ephemeral" and said["replace_original"] is False
    assert "not authorised" in said["text"]


def test_viewers_decide_nothing(slack: SlackServer, connector: Connector) -> None:
    known(connector, role="viewer")
    approval = ask()
    press(click(slack, approval))
    approval.refresh_from_db()
    assert approval.status == "pending"
    assert shown(slack)["response_type"] == "ephemeral"


def test_a_second_press_changes_nothing(slack: SlackServer, connector: Connector) -> None:
    known(connector)
    approval = ask()
    press(click(slack, approval))
    shown(slack)
    slack.answered.clear()
    press(click(slack, approval, "deny"))
    assert "Already allowed by bea" in shown(slack)["text"]
    approval.refresh_from_db()
    assert approval.status == "allowed"


@pytest.mark.parametrize("signing", [{"secret": "another"}, {"age": 301}])
@pytest.mark.parametrize("path", ["ops", "ops/interactive"])
def test_unsigned_presses_are_refused(
    slack: SlackServer, connector: Connector, path: str, signing: dict[str, Any]
) -> None:
    known(connector)
    approval = ask()
    answer = press(click(slack, approval), path=path, **signing)
    assert answer.status_code == 401
    approval.refresh_from_db()
    assert approval.status == "pending"
    assert IngressRefusal.objects.get().code == "ingress_unauthorized"


def test_an_open_connector_takes_no_presses(slack: SlackServer) -> None:
    make_slack(slack, secrets={}, allow_unauthenticated_ingress=True, include_self_output=False)
    assert press(click(slack, ask())).status_code == 401


def test_presses_from_elsewhere_are_refused(slack: SlackServer) -> None:
    known(make_slack(slack, allowed_channel_ids=["C1"]))
    approval = ask()
    answer = press(click(slack, approval))
    assert answer.status_code == 403
    assert code_of(answer) == "slack_not_allowed"
    approval.refresh_from_db()
    assert approval.status == "pending"


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "view_submission"},
        {"type": "block_actions", "user": {"id": USER}, "actions": [{"action_id": "other", "value": "x"}]},
        {"type": "block_actions", "user": {"id": USER}, "actions": None},
    ],
)
def test_other_interactions_are_answered_and_nothing_else(
    slack: SlackServer, connector: Connector, payload: dict[str, Any]
) -> None:
    assert press(payload).status_code == 200
    assert slack.answers == []


@pytest.mark.parametrize("raw", [b"nothing=1", b"payload=1&payload=2", b"payload=[]", b"payload=%ff%fe"])
def test_forms_that_cannot_be_read(raw: bytes) -> None:
    with pytest.raises(BadRequest):
        interactive.payload_of(raw)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://hooks.slack.com/actions/T/1/x", True),
        ("http://hooks.slack.com/actions/T/1/x", False),
        ("https://hooks.slack.com:8443/x", False),
        ("https://me@hooks.slack.com/x", False),
        ("https://hooks.slack.com.evil.test/x", False),
        ("https://evil.test/", False),
        ("", False),
        ("https://[", False),
        ("https://xn--/", False),
    ],
)
def test_answers_go_to_slack_alone(connector: Connector, url: str, allowed: bool) -> None:
    assert answers.may_answer(options(connector), url) is allowed


def test_a_press_without_an_address_to_answer_still_decides(slack: SlackServer, connector: Connector) -> None:
    known(connector)
    approval = ask()
    assert press(click(slack, approval, response_url="https://evil.test/x")).status_code == 200
    approval.refresh_from_db()
    assert approval.status == "allowed"
    assert slack.answers == []

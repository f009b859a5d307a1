"""Notices: what a run asks is said once where it answers to, in the commit that lets it wait."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from django.urls import reverse

from connectors_app.models import Connector, Delivery
from connectors_app.services import button_data, chat_actions, notice_text, registry
from connectors_app.services.contracts import Sent
from connectors_app.services.deliveries import claims, send
from kheish_site.lib.transactions import write
from sessions_app.engine import loop
from sessions_app.models import Approval, OperatorDecision, Run, Session, UserQuestion
from sessions_app.services import approvals, ports, runs
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.connectors_app.people import answer_to, make_connector, make_person, target_of
from tests.sessions_app.engine.conftest import BOB, call, kinds, payloads, submit
from tests.support.engine import Died, check_session, dying_at, expire_lease

pytestmark = pytest.mark.django_db(transaction=True)
Ask = Callable[..., UserQuestion]
Drive = Callable[..., Run]
ASKED = {"tool_calls": [call("bash", command="echo hello")]}
URL = "https://203.0.113.7/hook"


def notices(**filters: Any) -> list[Delivery]:
    return list(Delivery.objects.filter(kind="notice", **filters).order_by("id"))


def labels(delivery: Delivery) -> list[str]:
    return [button["label"] for row in delivery.buttons for button in row]


def test_what_is_asked_reaches_the_sender_as_it_is_written(
    approval: Approval, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(registry.sender("slack"), "send", lambda parcel: given.append(parcel) or Sent())
    work = claims.take(notices()[0].target_id, "worker-1")
    assert work is not None and isinstance(send.attempt(work.delivery, lambda progress: None), Sent)
    assert [(parcel.literal, bool(parcel.buttons)) for parcel in given] == [(True, True)]


def test_an_approval_is_announced_with_buttons(approval: Approval, slack: Connector, olga: str) -> None:
    (notice,) = notices()
    assert (notice.run_id, notice.session_id, notice.status) == (
        approval.run_id,
        approval.session_id,
        "pending",
    )
    assert notice.key == f"{approval.approval_id}:asked"
    assert notice.content.splitlines() == [
        "Approval needed: bash",
        f"Run {approval.run.run_id} of session desk, asked for by alice",
        f"Why: {approval.reason}",
        "{",
        '  "command": "echo hello"',
        "}",
        f"{approval.approval_id} (kheish approvals get {approval.approval_id})",
    ]
    assert labels(notice) == ["Allow", "Deny"]
    assert notice.metadata["approval_id"] == approval.approval_id
    assert notice.metadata["input"] == {"command": "echo hello"}
    told = chat_actions.perform(slack, olga, notice.buttons[0][0]["data"])
    assert told.text == "You allowed bash."
    assert len(notices()) == 1


def test_each_item_and_each_target_gets_one(
    drive: Drive, session: Session, slack: Connector, heartbeat: Heartbeat
) -> None:
    other = make_connector("bot", "telegram")
    answer_to(
        session,
        target_of(slack, channel_id="C1"),
        target_of(other, chat_id=7),
        {"plugin": "daemon", "address": {"session_id": "desk"}},
    )
    both = {"tool_calls": [call("bash", command="echo a"), call("bash", command="echo b")]}
    run = drive(both, {"text": "done"})
    found = notices(run=run)
    assert len(found) == 4
    assert {(notice.target.plugin, notice.metadata["input"]["command"]) for notice in found} == {
        (plugin, command) for plugin in ("slack", "telegram") for command in ("echo a", "echo b")
    }
    first, second = Approval.objects.filter(run=run).order_by("id")
    approvals.resolve(first.approval_id, Vote(behavior="allow"), principal=BOB)
    approvals.resolve(second.approval_id, Vote(behavior="deny"), principal=BOB)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    assert len(notices()) == 4
    check_session(session.pk)


def test_a_second_wave_announces_only_what_is_new(
    drive: Drive, session: Session, slack: Connector, heartbeat: Heartbeat
) -> None:
    again = {"tool_calls": [call("bash", command="echo again")]}
    run = drive(ASKED, again, {"text": "done"})
    (first,) = Approval.objects.filter(run=run)
    approvals.resolve(first.approval_id, Vote(behavior="allow"), principal=BOB)
    loop.drive(session.pk, heartbeat)
    assert [notice.metadata["input"]["command"] for notice in notices()] == ["echo hello", "echo again"]


def test_without_targets_nobody_is_told(
    drive: Drive, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(ports, "_ASKED", [lambda run, items: heard.append(items)])
    run = drive(ASKED, {"text": "done"})
    assert run.status == "waiting_for_approval"
    assert (heard, notices()) == ([], [])


def test_the_port_is_told_once_what_is_new(
    approval: Approval, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    monkeypatch.setattr(ports, "_ASKED", [lambda run, items: heard.append((run.run_id, list(items)))])
    with write():
        ports.asked(approval.run, [approval])
    assert heard == [(approval.run.run_id, [approval])]


def test_targets_that_are_only_local_cost_no_query(
    approval: Approval, django_assert_num_queries: Any
) -> None:
    approval.run.reply_targets = [{"plugin": "daemon", "address": {"session_id": "desk"}}]
    with django_assert_num_queries(0):
        ports.asked(approval.run, [approval])


@pytest.mark.parametrize("where", ["suspending", "suspended"])
def test_a_death_announces_neither_twice_nor_what_does_not_wait(
    where: str, script: Callable[..., Any], session: Session, slack: Connector, heartbeat: Heartbeat
) -> None:
    script(ASKED, {"text": "done"})
    run = submit(session)
    with dying_at(lambda here: here == where), pytest.raises(Died):
        loop.drive(session.pk, heartbeat)
    assert len(notices()) == (1 if where == "suspended" else 0)
    expire_lease(session.pk)
    loop.drive(session.pk, Heartbeat("worker-2"))
    (notice,) = notices()
    (approval,) = Approval.objects.filter(run=run)
    assert notice.metadata["approval_id"] == approval.approval_id
    assert [entry["key"] for entry in payloads(run, "delivery.queued")] == [f"{approval.approval_id}:asked"]
    check_session(session.pk)


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        ("slack", {}, True),
        ("telegram", {}, True),
        ("telegram", {"send_notices": False}, False),
        ("external", {}, False),
        ("external", {"send_notices": True}, True),
    ],
)
def test_which_connectors_take_notices(
    drive: Drive, session: Session, kind: str, said: dict[str, Any], told: bool
) -> None:
    connector = make_connector("one", kind, **said)
    answer_to(session, target_of(connector, route="r"))
    drive(ASKED, {"text": "done"})
    assert bool(notices()) == told


@pytest.mark.parametrize("told", [True, False])
def test_http_targets_follow_the_connector_that_brought_the_run(
    drive: Drive, session: Session, told: bool
) -> None:
    make_connector("orders", "http", **({"send_notices": True} if told else {}))
    answer_to(session, {"plugin": "http", "address": {"url": URL}})
    drive(ASKED, {"text": "done"}, source_plugin="http", source_kind="orders")
    assert [notice.target.plugin for notice in notices()] == (["http"] if told else [])


def test_a_removed_connector_takes_none(drive: Drive, session: Session) -> None:
    answer_to(session, target_of(make_connector("one"), channel_id="C1"))
    Connector.objects.update(removed_at="2020-01-01T00:00Z")
    assert drive(ASKED, {"text": "done"}).status == "waiting_for_approval"
    assert notices() == []


def test_a_single_question_has_its_options(ask: Ask, slack: Connector, olga: str) -> None:
    question = ask(expires_after_seconds=3600)
    (notice,) = notices()
    assert labels(notice) == ["east", "west", "Decline"]
    assert f"Expires {question.expires_at:%Y-%m-%d %H:%M:%S} UTC" in notice.content
    assert "Which region?\n- east\n- west\n" in notice.content
    told = chat_actions.perform(slack, olga, notice.buttons[1][0]["data"])
    assert told.text == "You answered: west."


def test_other_questions_can_only_be_declined_here(ask: Ask) -> None:
    options = [{"label": "a", "description": "the first"}, {"label": "b", "preview": "looks so"}]
    question = ask({"question": "One?", "options": options, "multi_select": True})
    (notice,) = notices()
    assert labels(notice) == ["Decline"]
    assert (
        "One? (several may be chosen)\n- a: the first\n- b (with a preview, not shown here)\n"
        in notice.content
    )
    assert f"kheish questions get {question.question_id}" in notice.content


def test_an_effect_in_doubt_is_announced_without_buttons(
    approval: Approval, session: Session, heartbeat: Heartbeat
) -> None:
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=BOB)
    with dying_at(lambda here: here == "tool.started"), pytest.raises(Died):
        loop.drive(session.pk, heartbeat)
    expire_lease(session.pk)
    loop.drive(session.pk, Heartbeat("worker-2"))
    decision = OperatorDecision.objects.get(run=approval.run)
    notice = notices()[-1]
    assert notice.content.startswith("Nobody knows whether this happened: bash\n")
    assert (notice.metadata["decision_id"], notice.buttons) == (decision.decision_id, [])


def test_what_does_not_fit_cannot_be_allowed_unseen(drive: Drive, slack: Connector) -> None:
    run = drive({"tool_calls": [call("bash", command="echo " + "x" * 5_000)]}, {"text": "done"})
    (notice,) = notices(run=run)
    assert labels(notice) == ["Deny"]
    assert "more characters are not shown: look at all of it to allow it." in notice.content
    assert len(notice.content) < 3_500


@pytest.mark.parametrize("hidden", ["echo token=$(id>f)", "echo '-----BEGIN PRIVATE KEY-----'; reboot"])
def test_what_is_masked_cannot_be_allowed_unseen(drive: Drive, slack: Connector, hidden: str) -> None:
    drive({"tool_calls": [call("bash", command=hidden)]}, {"text": "x"})
    (notice,) = notices()
    assert labels(notice) == ["Deny"]
    assert "(Parts are masked: look at the exact call to allow it.)" in notice.content
    assert notice.metadata["input_masked"] is True


def test_secrets_stay_out(drive: Drive, slack: Connector) -> None:
    secret = "sk-" + "q" * 30
    drive({"tool_calls": [call("bash", command=f"curl -H 'Authorization: Bearer {secret}'")]}, {"text": "x"})
    (notice,) = notices()
    assert "[redacted]" in notice.content
    assert secret not in json.dumps([notice.content, notice.metadata, notice.buttons])


def test_hidden_characters_are_spelt_out(ask: Ask) -> None:
    ask({"question": "Delete \u202egnihton?", "options": [{"label": "ye\u200bs"}, {"label": "no\x07"}]})
    (notice,) = notices()
    assert "Delete \\u202egnihton?" in notice.content
    assert labels(notice)[:2] == ["ye\\u200bs", "no\\u0007"]


def test_the_policy_and_the_asker_are_named(
    script: Callable[..., Any], session: Session, slack: Connector, heartbeat: Heartbeat
) -> None:
    rule = {
        "tool_name_pattern": "bash",
        "behavior": "ask",
        "required_votes": 2,
        "roles": ["operator", "admin"],
    }
    Session.objects.filter(pk=session.pk).update(permission_rules=[rule])
    script(ASKED, {"text": "done"})
    submit(session, source_plugin="slack", source_kind="message", actor_id="U7")
    loop.drive(session.pk, heartbeat)
    (notice,) = notices()
    assert "asked for by alice (U7 through slack)\n" in notice.content
    assert "Needs 2 votes of operator or admin.\n" in notice.content


def test_a_public_address_gives_a_link(drive: Drive, slack: Connector, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, public_url="https://kheish.example")
    approval = Approval.objects.get(run=drive(ASKED, {"text": "done"}))
    page = reverse("admin:sessions_app_approval_change", args=[approval.approval_id])
    assert f"https://kheish.example{page}\n" in notices()[0].content


@pytest.mark.parametrize("model", ["approval", "userquestion", "operatordecision"])
def test_links_are_addresses_of_the_console(model: str, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, public_url="https://kheish.example")
    link = notice_text._ending(model, "x get", "id_1", None)[1]
    assert link == "https://kheish.example" + reverse(f"admin:sessions_app_{model}_change", args=["id_1"])


def test_a_late_press_is_told_who_decided(approval: Approval, slack: Connector, olga: str) -> None:
    (notice,) = notices()
    approvals.resolve(approval.approval_id, Vote(behavior="deny"), principal=BOB)
    make_person(slack, "U2", "otto")
    for person in (olga, "U2"):
        told = chat_actions.perform(slack, person, notice.buttons[0][0]["data"])
        assert told.settled and told.text.startswith("Already denied by bob at ")
    assert kinds(approval.run).count("approval.denied") == 1
    assert all(len(button["data"]) <= button_data.LONGEST for row in notice.buttons for button in row)

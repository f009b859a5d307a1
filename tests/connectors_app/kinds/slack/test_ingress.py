"""Slack's events: proved, read, accepted once."""

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connection

from connectors_app.models import BindingKey, IngressReceipt, IngressRefusal
from connectors_app.services import connectors, identities, ingress
from kheish_site.lib.canonical import digest
from sessions_app.models import Run, Session
from sessions_app.services import tokens
from sessions_app.services.principal import SYSTEM
from tests.connectors_app.kinds.slack.world import SECRET, bring, envelope, make_slack, signed
from tests.factories import code_of

pytestmark = pytest.mark.django_db
NATURAL = "slack:ops:team:T061EG9R6:C024BE91L:1355517523.000005"
HERE = {
    "connector": "ops",
    "channel_id": "C024BE91L",
    "thread_ts": "1355517523.000005",
    "team_id": "T061EG9R6",
}


def only_run() -> Run:
    return Run.objects.select_related("session").get()


def test_a_message_becomes_one_run_of_its_thread() -> None:
    make_slack()
    said = envelope("look at &lt;this&gt;")
    answer = bring(said)
    assert answer.status_code == 200, answer.content
    run = only_run()
    assert answer.json()["run_id"] == run.run_id
    assert run.session.session_id == NATURAL
    assert (run.source_plugin, run.source_kind, run.actor_id) == ("slack", "message", "U2147483697")
    assert run.input_items == [{"type": "text", "text": "look at <this>"}]
    assert run.reply_targets == [{"plugin": "slack", "address": HERE}]
    assert run.metadata["slack_ingress_fingerprint"] == digest(said)
    assert run.metadata["slack_envelope"]["event"] == said["event"]
    assert "token" not in run.metadata["slack_envelope"]
    receipt = IngressReceipt.objects.get()
    assert receipt.key == f"slack:ops:team:T061EG9R6:{said['event_id']}"
    assert receipt.fingerprint == digest(said)
    assert list(BindingKey.objects.values_list("key", flat=True)) == [NATURAL]


def test_an_answer_in_a_thread_goes_on_in_its_session() -> None:
    make_slack()
    bring(envelope())
    bring(envelope(event={"ts": "1355517600.000001", "thread_ts": "1355517523.000005"}))
    assert Run.objects.count() == 2
    assert Session.objects.get().session_id == NATURAL
    assert [run.reply_targets[0]["address"] for run in Run.objects.all()] == [HERE, HERE]


def test_an_organisation_is_part_of_every_name() -> None:
    make_slack(additional_binding_keys=["incident-7"])
    bring(envelope(enterprise_id="E1", event_id=None))
    run, scope = only_run(), "enterprise:E1:team:T061EG9R6"
    natural = f"slack:ops:{scope}:C024BE91L:1355517523.000005"
    assert run.session.session_id == natural
    assert IngressReceipt.objects.get().key == f"slack:ops:{scope}:C024BE91L:1355517523.000005"
    assert set(BindingKey.objects.values_list("key", flat=True)) == {natural, "incident-7"}
    assert run.reply_targets[0]["address"]["enterprise_id"] == "E1"


def test_where_answers_go_is_the_connectors_word() -> None:
    more = {"plugin": "slack", "address": {"connector": "ops", "channel_id": "C0AUDIT"}}
    make_slack(additional_reply_targets=[more], include_self_output=False)
    bring(envelope())
    assert only_run().reply_targets == [more]


def test_slacks_retries_get_the_first_run() -> None:
    make_slack()
    said = envelope()
    first = bring(said)
    again = bring(said, **{"X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout"})
    assert again.status_code == 200
    assert again.json()["run_id"] == first.json()["run_id"]
    assert again["Idempotent-Replayed"] == "true"
    assert Run.objects.count() == 1
    assert IngressReceipt.objects.get().duplicates == 1


def test_the_same_event_id_with_another_content_is_a_conflict() -> None:
    make_slack()
    bring(envelope("one", event_id="Ev1"))
    answer = bring(envelope("two", event_id="Ev1"))
    assert answer.status_code == 409
    assert code_of(answer) == "ingress_conflict"
    assert Run.objects.count() == 1


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda body: signed(body, secret="another"), id="wrong secret"),
        pytest.param(lambda body: signed(body + b" "), id="another body"),
        pytest.param(lambda body: signed(body, age=301), id="301 seconds old"),
        pytest.param(lambda body: signed(body, age=-302), id="from the future"),
        pytest.param(lambda body: {}, id="missing"),
        pytest.param(lambda body: signed(body) | {"X-Slack-Request-Timestamp": "soon"}, id="no time"),
        pytest.param(lambda body: signed(body) | {"X-Slack-Signature": "v0=abc"}, id="short"),
        pytest.param(lambda body: signed(body) | {"X-Slack-Signature": "v0=" + "é" * 64}, id="not hex"),
    ],
)
@pytest.mark.parametrize("value", [{"type": "url_verification", "challenge": "c"}, "message"])
def test_what_slack_did_not_sign_is_refused(spoil: Any, value: Any) -> None:
    make_slack()
    body = json.dumps(envelope() if value == "message" else value).encode()
    answer = bring(body, headers=spoil(body))
    assert answer.status_code == 401
    assert code_of(answer) == "ingress_unauthorized"
    assert not Run.objects.exists()
    assert IngressRefusal.objects.get().code == "ingress_unauthorized"


def test_a_signature_of_nearly_five_minutes_ago_is_good() -> None:
    make_slack()
    body = json.dumps(envelope()).encode()
    assert bring(body, headers=signed(body, age=298)).status_code == 200


def test_bytes_that_are_no_text_are_refused() -> None:
    make_slack()
    stamp = {"X-Slack-Request-Timestamp": str(int(time.time())), "X-Slack-Signature": "v0=" + "0" * 64}
    assert bring(b"\xff\xfe", headers=stamp).status_code == 401


def test_a_signed_challenge_is_answered() -> None:
    make_slack()
    answer = bring({"type": "url_verification", "token": "x", "challenge": "3eZbrw1aB"})
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aB"})


def test_a_signature_is_needed_wherever_a_secret_is_configured() -> None:
    make_slack(allow_unauthenticated_ingress=True)
    assert bring(envelope(), headers={}).status_code == 401
    make_slack(name="open", secrets={}, allow_unauthenticated_ingress=True, include_self_output=False)
    said = envelope()
    assert bring(said, name="open", headers={}).status_code == 200
    Run.objects.update(outputs=[{"content": "a secret"}])
    again = bring(said, name="open", headers={})
    assert (again["Idempotent-Replayed"], again.json()["outputs"]) == ("true", [])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"type": "event_callback", "event": {"type": "reaction_added"}}, "unsupported_event"),
        ({"type": "event_callback", "event": {"type": "app_mention"}}, "unsupported_event"),
        ({"type": "something_new"}, "unsupported_envelope"),
        ({"type": "event_callback"}, "unsupported_envelope"),
        (envelope(event={"subtype": "message_changed"}), "unsupported_message_subtype"),
        (envelope(event={"subtype": "bot_message"}), "unsupported_message_subtype"),
        (envelope(event={"subtype": ["file_share"]}), "unsupported_message_subtype"),
        (envelope(event={"bot_id": "B1"}), "unsupported_message_subtype"),
        (envelope(event={"user": "UBOT"}), "unsupported_message_subtype"),
    ],
)
def test_what_is_no_persons_message_is_ignored(said: dict[str, Any], reason: str) -> None:
    make_slack()
    answer = bring(said)
    assert (answer.status_code, answer.json()) == (200, {"ignored": True, "reason": reason})
    assert not Run.objects.exists()


def test_a_warning_of_too_many_events_makes_no_run() -> None:
    make_slack(allowed_team_ids=["T061EG9R6"])
    said = {"type": "app_rate_limited", "team_id": "T061EG9R6", "minute_rate_limited": 1518467820}
    expected = {"ignored": True, "type": "app_rate_limited", "minute_rate_limited": 1518467820}
    assert bring(said).json() == expected
    assert bring({**said, "team_id": "T0"}).status_code == 403


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"allowed_api_app_ids": ["A1"]}, envelope()),
        ({"allowed_api_app_ids": ["A0FFV41KK"]}, envelope(api_app_id=None)),
        ({"allowed_team_ids": ["T1"]}, envelope()),
        ({"allowed_enterprise_ids": ["E1"]}, envelope()),
        ({"allowed_channel_ids": ["C1"]}, envelope()),
        (
            {"allowed_team_ids": ["T061EG9R6"]},
            envelope(authorizations=[{"team_id": "T061EG9R6"}, {"team_id": "T2"}]),
        ),
        (
            {"allowed_enterprise_ids": ["E1"]},
            envelope(enterprise_id="E1", authorizations=[{"team_id": "T1"}]),
        ),
        ({"allowed_team_ids": ["T061EG9R6"]}, envelope(authorizations="T2")),
        ({"allowed_team_ids": ["T061EG9R6"]}, envelope(authorizations=[{"team_id": "T061EG9R6"}, "T2"])),
    ],
)
def test_places_that_no_list_names_are_refused(settings: dict[str, Any], said: dict[str, Any]) -> None:
    make_slack(**settings)
    answer = bring(said)
    assert answer.status_code == 403
    assert code_of(answer) == "slack_not_allowed"
    assert not Run.objects.exists()


def test_places_that_the_lists_name_are_let_in() -> None:
    make_slack(
        allowed_api_app_ids=["A0FFV41KK"],
        allowed_team_ids=["T061EG9R6"],
        allowed_enterprise_ids=["E1"],
        allowed_channel_ids=["C024BE91L"],
    )
    whole = {"enterprise_id": "E1", "is_enterprise_install": True, "team_id": None}
    assert bring(envelope(enterprise_id="E1", authorizations=[whole])).status_code == 200


@pytest.mark.parametrize(
    "event",
    [
        {"channel": None},
        {"ts": None},
        {"channel": "C:1"},
        {"ts": "now"},
        {"text": 7},
        {"files": "none"},
        {"user": ["U1"]},
    ],
)
def test_a_message_without_place_or_sense_is_refused(event: dict[str, Any]) -> None:
    make_slack()
    answer = bring(envelope(event=event))
    assert answer.status_code == 400
    assert code_of(answer) == "slack_event_invalid"


@pytest.mark.parametrize(("body", "code"), [(b"{", "invalid_json"), (b"[]", "slack_event_invalid")])
def test_what_is_no_envelope_is_refused(body: bytes, code: str) -> None:
    make_slack()
    answer = bring(body)
    assert answer.status_code == 400
    assert code_of(answer) == code


def test_events_of_one_channel_do_not_use_up_anothers_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(ingress, "time", SimpleNamespace(monotonic=lambda: now))
    make_slack(ingress_events_per_second=1)
    assert bring(envelope()).status_code == 200
    late = bring(envelope())
    assert late.status_code == 429
    assert code_of(late) == "slack_ingress_rate_limited"
    assert int(late["Retry-After"]) >= 1
    assert bring(envelope(event={"channel": "C2"})).status_code == 200


def test_unknown_disabled_and_paused_connectors_say_so() -> None:
    make_slack()
    assert bring(envelope(), name="nobody").status_code == 404
    connectors.set_paused("slack", "ops", True, principal="alice")
    assert bring(envelope()).status_code == 503
    connectors.set_paused("slack", "ops", False, principal="alice")
    connectors.set_enabled("slack", "ops", False)
    assert bring(envelope()).status_code == 409


def test_a_known_author_is_who_asked_for_the_run() -> None:
    connector = make_slack()
    tokens.create("bea", role="operator")
    identities.put(connector, "T9:U2147483697", principal="bea", role="operator", by=SYSTEM)
    bring(envelope())
    assert only_run().requested_by == "connector:slack/ops"
    bring(envelope(event={"user_team": "T9"}))
    run = Run.objects.latest("id")
    assert (run.actor_id, run.requested_by) == ("T9:U2147483697", "bea")


def test_no_secret_is_stored_or_answered() -> None:
    make_slack()
    answer = bring(envelope(f"my secret is {SECRET}"))
    assert SECRET not in answer.content.decode()
    with connection.cursor() as cursor:
        cursor.execute("SELECT metadata, input_items FROM sessions_app_run")
        assert SECRET not in str(cursor.fetchall())

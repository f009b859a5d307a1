"""The control plane of connectors: written whole or not at all, read without secrets."""

from typing import Any

import pytest

from connectors_app.models import Connector, IngressReceipt
from sessions_app.models import JournalEntry, Run, SecretSlot, Session
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.rows import TOKEN, make_connector, sender
from tests.factories import code_of, make_client, make_route, make_secret, make_session

pytestmark = pytest.mark.django_db
ADDRESS = "/v1/runtime/connectors/http/alerts"
BODY = {"settings": {"fixed_session_id": "desk"}, "secrets": {"bearer_token": {"value": TOKEN}}}


def put(body: Any = None, role: str = "admin", address: str = ADDRESS, **headers: str) -> Any:
    return make_client(role).put(address, BODY if body is None else body, headers=headers)


def test_made_read_changed_removed() -> None:
    made = put()
    assert made.status_code == 201, made.content
    assert made["ETag"] == '"1"'
    view = make_client("viewer").get(ADDRESS).json()
    assert view["settings"]["fixed_session_id"] == "desk"
    assert view["settings"]["session_policy"]["create_if_missing"] is True
    assert view["secrets"] == {
        "bearer_token": {"configured": True, "source": "inline"},
        "hmac_secret": {"configured": False},
    }
    changed = put({"settings": {"actor_id": "grafana"}})
    assert changed.status_code == 200
    assert changed.json()["settings"]["fixed_session_id"] == "desk"
    assert changed.json()["secrets"]["bearer_token"]["configured"]
    admin = make_client()
    assert [item["name"] for item in admin.get("/v1/runtime/connectors?kind=http").json()["items"]] == [
        "alerts"
    ]
    assert admin.get("/v1/runtime/connectors?kind=slack").json()["items"] == []
    assert admin.delete(ADDRESS).status_code == 204
    assert admin.get(ADDRESS).status_code == 404
    assert not SecretSlot.objects.exists()


def test_no_answer_ever_holds_the_secret() -> None:
    put()
    admin = make_client()
    for path in (ADDRESS, "/v1/runtime/connectors", "/v1/runtime/secrets"):
        assert TOKEN not in admin.get(path).content.decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"settings": {}, "secrets": {}}, "invalid_connector"),
        ({"settings": {"nonsense": 1}, "secrets": BODY["secrets"]}, "invalid_request"),
        ({"settings": {"require_hmac_signature": True}, "secrets": BODY["secrets"]}, "invalid_connector"),
        ({"secrets": {"bearer_token": {"value": TOKEN, "env": "X"}}}, "invalid_connector"),
        ({"secrets": {"bearer_token": {"secret_ref": "nowhere"}}}, "invalid_connector"),
        ({"secrets": {"bearer_token": {"value": ""}}}, "invalid_connector"),
        ({"secrets": {"bearer_token": "plain"}}, "invalid_connector"),
        ({"secrets": {"api_key": {"value": "x"}}}, "invalid_connector"),
        (
            {"settings": {"session_policy": {"persona_id": "ghost"}}, "secrets": BODY["secrets"]},
            "invalid_connector",
        ),
        ({"settings": {"default_reply_targets": [{"plugin": "x", "address": 1}]}}, "invalid_reply_target"),
        ({"settings": {"signature_max_age_secs": 4000}}, "invalid_request"),
        ({"surprise": 1}, "invalid_request"),
        ([], "invalid_request"),
    ],
)
def test_a_definition_that_is_wrong_changes_nothing(body: Any, code: str) -> None:
    answer = put(body)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert not Connector.objects.exists()
    assert not SecretSlot.objects.exists()


def test_roles_names_and_kinds() -> None:
    assert put(role="operator").status_code == 403
    assert code_of(put(address="/v1/runtime/connectors/http/a b")) == "invalid_request"
    assert code_of(put(address="/v1/runtime/connectors/pigeon/alerts")) == "connector_kind_not_found"
    make_connector()
    viewer = make_client("viewer")
    for verb in ("pause", "test"):
        assert viewer.post(f"{ADDRESS}/{verb}", {}).status_code == 403
    assert make_client("operator").delete(ADDRESS).status_code == 403


def test_a_stale_version_is_refused() -> None:
    put()
    put({"settings": {"actor_id": "one"}})
    stale = put({"settings": {"actor_id": "two"}}, **{"If-Match": '"1"'})
    assert (stale.status_code, stale.json()["current_revision"]) == (412, 2)
    assert put({"settings": {"actor_id": "two"}}, **{"If-Match": '"2"'}).status_code == 200


@pytest.mark.parametrize(
    ("secrets", "told"),
    [
        ({"nope": {"env": "X"}}, "http connectors have no secret nope; they have: bearer_token, hmac_secret"),
        (
            {"bearer_token": {"secret_ref": "missing"}},
            "there is no secret slot missing; make it first: secrets set missing --provider http",
        ),
    ],
)
def test_an_unknown_secret_is_refused_with_what_to_do(secrets: dict[str, Any], told: str) -> None:
    assert put({"settings": {}, "secrets": secrets}).json()["detail"] == told


def test_a_slot_in_use_cannot_be_deleted() -> None:
    make_secret("shared-token", TOKEN)
    put({"settings": {}, "secrets": {"bearer_token": {"secret_ref": "shared-token"}}})
    answer = make_client().delete("/v1/runtime/secrets/shared-token")
    assert (answer.status_code, code_of(answer)) == (409, "secret_in_use")
    assert answer.json()["referenced_by"] == ["connector:http/alerts"]


def test_pause_resume_enable_disable_can_be_repeated() -> None:
    make_connector()
    client = make_client()
    for verb, status in (("pause", "paused"), ("resume", "ok"), ("disable", "disabled"), ("enable", "ok")):
        for _ in range(2):
            answer = client.post(f"{ADDRESS}/{verb}", {})
            assert (answer.status_code, answer.json()["status"]) == (200, status)


def test_a_test_event_takes_the_real_way() -> None:
    make_connector(fixed_session_id="desk")
    client = make_client("operator")
    planned = client.post(f"{ADDRESS}/test", {"dry_run": True})
    assert planned.json() == {"session_id": "desk", "found_by": "fixed_session_id"}
    assert not Run.objects.exists()
    sent = client.post(f"{ADDRESS}/test", {})
    assert sent.status_code == 202
    assert Run.objects.get().run_id == sent.json()["run_id"]


def test_a_test_event_meets_what_a_real_one_would() -> None:
    make_connector()
    client = make_client("operator")

    def dry_run(event: Any = None) -> Any:
        said = {} if event is None else {"event": event}
        return client.post(f"{ADDRESS}/test", {"dry_run": True, **said})

    said = {"content": "disk full", "idempotency_key": "1"}
    for event in (None, said):
        assert code_of(dry_run(event)) == "session_unresolved"
    assert dry_run({**said, "session_id": "desk"}).json() == {"session_id": "desk", "found_by": "session_id"}
    assert dry_run({**said, "binding_keys": ["k"]}).json()["found_by"] == "natural_id"
    assert code_of(dry_run({**said, "nonsense": 1})) == "invalid_request"
    for _ in range(2):
        assert client.post(f"{ADDRESS}/test", {"event": {**said, "session_id": "desk"}}).status_code == 202
    real = sender().post("/v1/connectors/http/alerts", {**said, "session_id": "desk"})
    assert real.status_code == 200 and "Idempotent-Replayed" not in real, "a test uses up no key"
    assert Run.objects.count() == 3
    assert Run.objects.order_by("pk")[0].metadata["test_event"] is True


def test_an_event_of_ones_own_for_other_kinds() -> None:
    make_external()
    client, said = make_client("operator"), {"event_id": "1", "content": "hi", "routing_key": "ada"}
    address = "/v1/runtime/connectors/external/mail/test"
    assert client.post(address, {"event": said, "dry_run": True}).json()["found_by"] == "natural_id"
    assert code_of(client.post(address, {"event": {"event_id": "1"}})) == "external_event_rejected"
    make_connector(
        "ops", kind="slack", secrets={"bot_token": {"value": "x"}, "signing_secret": {"value": "y"}}
    )
    answer = client.post("/v1/runtime/connectors/slack/ops/test", {"event": said})
    assert code_of(answer) == "invalid_connector"


def test_activity_is_shown() -> None:
    make_connector(fixed_session_id="desk")
    for _ in range(3):
        sender().post("/v1/connectors/http/alerts", {"content": "x", "idempotency_key": "1"})
    sender("wrong").post("/v1/connectors/http/alerts", {"content": "x", "idempotency_key": "1"})
    activity = make_client().get(ADDRESS).json()["activity"]
    assert (activity["accepted_events"], activity["duplicate_events"], activity["refused_events"]) == (
        1,
        2,
        1,
    )
    assert activity["last_event_at"]
    assert activity["refusals"][0]["code"] == "ingress_unauthorized"


def test_a_removed_connector_still_knows_its_events_when_it_comes_back() -> None:
    make_connector(fixed_session_id="desk")
    event = {"content": "x", "idempotency_key": "1"}
    first = sender().post("/v1/connectors/http/alerts", event).json()["run_id"]
    make_client().delete(ADDRESS)
    assert sender().post("/v1/connectors/http/alerts", event).status_code == 404
    put()
    assert sender().post("/v1/connectors/http/alerts", event).json()["run_id"] == first
    assert IngressReceipt.objects.count() == 1


def test_lists_cost_the_same_for_many(django_assert_num_queries: Any) -> None:
    make_route()
    client = make_client()
    client.get("/v1/runtime/connectors")  # the token's use is recorded once a minute
    costs = []
    for number in (2, 6):
        for index in range(number):
            make_connector(f"c-{number}-{index}")
        with django_assert_num_queries(6, exact=False) as queries:
            client.get("/v1/runtime/connectors")
        costs.append(len(queries))
    assert costs[0] == costs[1]


@pytest.mark.django_db(transaction=True)
def test_what_answers_through_a_removed_connector_is_forgotten() -> None:
    secrets = {"bot_token": {"value": "xoxb-canary-1"}, "signing_secret": {"value": "signing-canary"}}
    make_connector("ops", kind="slack", secrets=secrets)
    slack = {"plugin": "slack", "address": {"connector": "ops", "channel_id": "C024BE91L"}}
    other = {"plugin": "slack", "address": {"connector": "dev", "channel_id": "C024BE91L"}}
    for name, targets in {"pinned": [slack, other], "both": [slack], "other": [other]}.items():
        make_session(name)
        Session.objects.filter(session_id=name).update(reply_targets=targets, reply_targets_pinned=True)
    revision = Session.objects.get(session_id="other").revision
    assert make_client().delete("/v1/runtime/connectors/slack/ops").status_code == 204
    left = dict(Session.objects.values_list("session_id", "reply_targets"))
    assert left == {"pinned": [other], "both": [], "other": [other]}
    assert Session.objects.get(session_id="other").revision == revision
    changes = JournalEntry.objects.filter(kind="session.updated")
    assert sorted(changes.values_list("session__session_id", flat=True)) == ["both", "pinned"]
    assert changes.get(session__session_id="pinned").payload == {
        "principal": "system",
        "reply_targets": {"from": [slack, other], "to": [other]},
        "reason": "the connector slack/ops was removed",
        "connector": "slack/ops",
    }
    Session.objects.filter(session_id="both").update(reply_targets=[slack])  # as if it had been cut short
    make_connector("ops", kind="slack", secrets=secrets)
    assert Session.objects.get(session_id="both").reply_targets == []

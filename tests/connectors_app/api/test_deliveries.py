"""Deliveries over HTTP: lists, details, verbs, roles."""

from typing import Any

import pytest

from connectors_app.models import Delivery, DeliveryTarget
from connectors_app.services.contracts import Ambiguous, Refused
from connectors_app.services.deliveries import claims
from sessions_app.models import Session
from tests.connectors_app.conftest import say
from tests.factories import code_of, make_asset, make_client, make_run, make_session

pytestmark = pytest.mark.django_db
SECRET = "canary-4711-header"
HOOK = {
    "plugin": "http",
    "address": {"url": "http://example.com/hook?code=canary", "headers": {"x-shared": SECRET}},
}


@pytest.fixture
def session() -> Session:
    return make_session("desk")


def settled(session: Session, word: str, outcome: Any) -> str:
    (row,) = say(session, HOOK, word)
    work = claims.take(row.target_id, "worker-1")
    assert work is not None
    claims.settle(work, outcome, go_on=False)
    return row.delivery_id


@pytest.fixture
def dead(session: Session) -> str:
    return settled(session, "dead words", Refused("terminal", "the target answered 410"))


@pytest.fixture
def doubtful(session: Session) -> str:
    return settled(session, "doubtful words", Ambiguous("timeout", "silence"))


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [item["delivery_id"] for item in answer.json()["items"]]


def test_lists_and_filters(session: Session, dead: str, doubtful: str) -> None:
    run = make_run(session)
    (waiting,) = say(session, HOOK, "waits", run=run)
    client = make_client("viewer")
    assert ids(client.get("/v1/deliveries")) == [waiting.delivery_id, doubtful, dead]
    for query, found in {
        "session_id=desk": 3, "session_id=none": 0, f"run_id={run.run_id}": 1, "plugin=http": 3,
        "plugin=slack": 0, "status=unknown": 1, "unresolved=true": 2, f"target={waiting.target.name}": 3,
        f"target={waiting.target.digest}&status=pending": 1,
    }.items():  # fmt: skip
        assert len(ids(client.get(f"/v1/deliveries?{query}"))) == found, query
    assert ids(client.get("/v1/deliveries/dead-letter")) == [dead]
    assert code_of(client.get("/v1/deliveries?target=nobody")) == "delivery_target_not_found"
    assert client.get("/v1/deliveries?status=lost").status_code == 400
    assert client.get("/v1/deliveries?limit=1").json()["pagination"]["has_more"] is True


def test_a_view_shows_no_address_and_no_words_to_viewers(dead: str) -> None:
    seen = make_client("viewer").get(f"/v1/deliveries/{dead}").json()
    told = make_client("operator").get(f"/v1/deliveries/{dead}").json()
    assert "content" not in seen and told["content"] == "dead words"
    assert seen["target"].startswith("http:address_sha256:")
    assert seen["terminal_error"] == {"error_class": "terminal", "message": "the target answered 410"}
    assert seen["content_size_bytes"] == 10 and seen["status"] == "dead_lettered"
    for view in (seen, told, make_client("admin").get("/v1/delivery-targets").json()):
        assert "example.com" not in str(view) and SECRET not in str(view)
    assert "example.com" not in DeliveryTarget.objects.get().sealed
    assert code_of(make_client().get("/v1/deliveries/dlv_none")) == "delivery_not_found"


def test_replay_resolve_decide(dead: str, doubtful: str) -> None:
    client = make_client("operator")
    first = client.post(f"/v1/deliveries/{dead}/replay", {})
    again = client.post(f"/v1/deliveries/{dead}/replay", {"force": False})
    forced = client.post(f"/v1/deliveries/{dead}/replay", {"force": True})
    assert (first.status_code, again.status_code, forced.status_code) == (201, 200, 201)
    assert first.json()["delivery_id"] == again.json()["delivery_id"] != forced.json()["delivery_id"]
    assert first.json()["replayed_from_delivery_id"] == dead
    for _ in range(2):
        resolved = client.post(f"/v1/deliveries/{dead}/resolve", {}).json()
        assert resolved["resolution_reason"] == "operator resolved"
    assert code_of(client.post(f"/v1/deliveries/{doubtful}/resolve", {})) == "delivery_state_conflict"
    for _ in range(2):
        decided = client.post(f"/v1/deliveries/{doubtful}/decide", {"outcome": "happened"})
        assert (decided.status_code, decided.json()["status"]) == (200, "delivered")
    other = client.post(f"/v1/deliveries/{doubtful}/decide", {"outcome": "give_up"})
    assert other.status_code == 409 and code_of(other) == "delivery_decision_conflict"
    assert other.json()["decision"] == "happened" and other.json()["resolved_by"]
    assert client.post(f"/v1/deliveries/{doubtful}/decide", {"outcome": "maybe"}).status_code == 400


def test_the_same_key_replays_once(dead: str) -> None:
    client = make_client("operator")
    answers = [
        client.post(f"/v1/deliveries/{dead}/replay", {"force": True}, headers={"Idempotency-Key": "k1"})
        for _ in range(2)
    ]
    assert answers[0].json() == answers[1].json()
    assert Delivery.objects.count() == 2


def test_dead_letters_are_replayed_in_bulk_once_a_key(dead: str) -> None:
    client = make_client("operator")
    would = client.post("/v1/deliveries/replay-bulk", {"dry_run": True, "plugin": "http"}).json()
    assert would == {"dry_run": True, "items": [{"delivery_id": dead, "action": "would_replay"}]}
    (item,) = client.post("/v1/deliveries/replay-bulk", {}).json()["items"]
    assert item["action"] == "replayed" and item["replay_delivery_id"]
    assert client.post("/v1/deliveries/replay-bulk", {"limit": 501}).status_code == 400
    forced = [
        client.post("/v1/deliveries/replay-bulk", {"force": True}, headers={"Idempotency-Key": "again"})
        for _ in range(2)
    ]
    assert forced[0].json() == forced[1].json() and forced[1]["Idempotent-Replayed"] == "true"
    assert forced[0].json()["items"][0]["action"] == "replayed"
    other = client.post("/v1/deliveries/replay-bulk", {}, headers={"Idempotency-Key": "again"})
    assert code_of(other) == "idempotency_conflict"
    assert Delivery.objects.count() == 3


def test_what_is_sent_by_hand_is_queued_redacted(session: Session) -> None:
    client = make_client("operator")
    body = {
        "session_id": "desk",
        "output": {"content": "hello, token=abcdef123456"},
        "handle": {"type": "http", "url": "https://example.com/hook"},
    }
    answer = client.post("/v1/deliveries", body)
    assert answer.status_code == 202, answer.content
    (view,) = answer.json()["deliveries"]
    assert view["status"] == "pending" and "run_id" not in view
    assert Delivery.objects.get().content == "hello, token=[redacted]"
    private = {**body, "handle": {"type": "raw", "plugin": "http", "address": "http://10.0.0.1/"}}
    assert code_of(client.post("/v1/deliveries", private)) == "invalid_reply_target"
    assert code_of(client.post("/v1/deliveries", {**body, "session_id": "none"})) == "session_not_found"
    assert client.post("/v1/deliveries", {**body, "output": {}}).status_code == 400
    local = {**body, "handle": {"plugin": "daemon", "address": "desk"}}
    assert code_of(client.post("/v1/deliveries", local)) == "invalid_reply_target"


def test_what_its_metadata_names_reaches_a_target_once(session: Session) -> None:
    client, other = make_client("operator"), make_session("elsewhere")

    def send(content: str, name: Any, url: str = "https://example.com/a", to: Session = session) -> Any:
        output = {"content": content, "metadata": {"delivery_idempotency_key": name}}
        handle = {"type": "http", "url": url}
        return client.post(
            "/v1/deliveries", {"session_id": to.session_id, "output": output, "handle": handle}
        )

    (first,) = send("paid", "order-1").json()["deliveries"]
    for again in (send("paid", "order-1"), send("paid", "order-1", to=other)):
        assert again.status_code == 202
        assert [view["delivery_id"] for view in again.json()["deliveries"]] == [first["delivery_id"]]
    send("paid", "order-2")
    send("paid", "order-1", "https://example.com/b")
    assert Delivery.objects.count() == 3
    assert [send("paid", name).status_code for name in ("", " ", 7, None)] == [400] * 4


def test_files_that_are_sent_by_hand_go_along(session: Session) -> None:
    asset = make_asset()
    body = {
        "session_id": "desk",
        "output": {"content": "look", "attachments": [asset.asset_id]},
        "handle": {"type": "http", "url": "https://example.com/hook"},
    }
    answer = make_client("operator").post("/v1/deliveries", body)
    assert answer.status_code == 202, answer.content
    assert Delivery.objects.get().attachments == [asset.asset_id]


def test_a_target_names_the_connector_it_is_reached_by(dead: str) -> None:
    DeliveryTarget.objects.update(connector_name="ops")
    (target,) = make_client("viewer").get("/v1/delivery-targets").json()["items"]
    assert target["connector"] == "ops"


def test_targets_pause_resume_reset(dead: str) -> None:
    client = make_client("operator")
    (target,) = client.get("/v1/delivery-targets?plugin=http").json()["items"]
    address = f"/v1/delivery-targets/{target['digest']}"
    for _ in range(2):
        assert client.post(f"{address}/pause", {}).json()["paused"] is True
    assert client.post(f"{address}/resume", {}).json()["paused"] is False
    DeliveryTarget.objects.update(failures=3)
    body = {"target": target["target"], "dry_run": True}
    found = client.post("/v1/deliveries/backpressure/reset", body).json()
    assert [one["consecutive_failures"] for one in found["targets"]] == [3]
    found = client.post("/v1/deliveries/backpressure/reset", {"plugin": "http"}).json()
    assert [one["consecutive_failures"] for one in found["targets"]] == [0]
    assert code_of(client.post("/v1/deliveries/backpressure/reset", {})) == "delivery_filter_missing"
    assert code_of(client.post("/v1/delivery-targets/ffff/pause", {})) == "delivery_target_not_found"
    assert client.get("/v1/delivery-targets?waiting=true").json()["items"] == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/deliveries", "/v1/deliveries/x/replay", "/v1/deliveries/x/resolve", "/v1/deliveries/x/decide",
        "/v1/deliveries/replay-bulk", "/v1/deliveries/backpressure/reset", "/v1/delivery-targets/x/pause",
    ],
)  # fmt: skip
def test_viewers_change_nothing(path: str) -> None:
    assert make_client("viewer").post(path, {}).status_code == 403


@pytest.mark.parametrize("accept", ["text/plain", "*/*", "application/json", ""])
def test_gauges_in_plain_text(dead: str, accept: str) -> None:
    answer = make_client("viewer").get("/v1/runtime/deliveries/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    assert b'kheish_delivery_deliveries{status="dead_lettered"} 1\n' in answer.content


def test_a_list_costs_the_same_for_one_and_many(session: Session, django_assert_max_num_queries: Any) -> None:
    say(session, HOOK, *[f"word {number}" for number in range(20)])
    client = make_client("viewer")
    with django_assert_max_num_queries(5):
        assert len(ids(client.get("/v1/deliveries"))) == 20
    with django_assert_max_num_queries(5):
        client.get("/v1/delivery-targets")


def test_the_status_counts(dead: str, doubtful: str) -> None:
    view = make_client("viewer").get("/v1/status").json()
    assert view["deliveries"] == {
        "waiting": 0, "dead_lettered": 1, "unresolved_dead_lettered": 1, "unknown": 1, "targets_paused": 0,
    }  # fmt: skip
    assert {"deliveries_unresolved_dead_lettered", "deliveries_unknown"} <= {
        warning["code"] for warning in view["health"]["warnings"]
    }

"""POST to an HTTP connector: who may, what it may say, and what comes of it."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from standardwebhooks.webhooks import Webhook

from connectors_app.kinds.http.signatures import Signed, check_signature
from connectors_app.models import IngressReceipt, IngressRefusal
from connectors_app.services import connectors
from kheish_site.lib.errors import KheishError
from sessions_app.models import Run, Session
from tests.connectors_app.rows import TOKEN, make_connector, sender
from tests.factories import code_of, make_persona

pytestmark = pytest.mark.django_db
ADDRESS = "/v1/connectors/http/alerts"
EVENT = {"content": "disk full", "idempotency_key": "order-123"}
SECRET = "hmac-test-secret"
VECTOR = Signed(
    method="POST",
    target="/v1/connectors/http/orders?source=a%2Fb&attempt=1",
    headers={
        "x-kheish-timestamp": "1710000000",
        "x-kheish-signature": "v1=f13a4b8c5099a2ffc6b8a913e0998d6765d61a693c27f594ca34ede2e0d4e557",
    },
    body=b'{"content":"hello","idempotency_key":"order-123","metadata":{"k":"v"}}',
)


def post(body: Any = None, **more: Any) -> Any:
    return sender().post(ADDRESS, EVENT if body is None else body, **more)


def signed_headers(
    body: bytes, *, address: str = ADDRESS, secret: str = SECRET, at: int = 0
) -> dict[str, str]:
    stamp = at or int(time.time())
    text = f"v1:POST:{address}:{stamp}:".encode() + body
    value = hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()
    return {"X-Kheish-Timestamp": str(stamp), "X-Kheish-Signature": f"v1={value}"}


def send(body: bytes, headers: dict[str, str], address: str = ADDRESS) -> Any:
    return Client().post(address, body, content_type="application/json", headers=headers)


def make_signed(**settings: Any) -> None:
    make_connector(
        secrets={"hmac_secret": {"value": SECRET}},
        **{"fixed_session_id": "desk", "require_hmac_signature": True, **settings},
    )


def test_an_event_becomes_a_run_and_a_repeat_is_answered_with_it() -> None:
    make_connector(fixed_session_id="desk")
    first, again = post(), post()
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["run_id"] == again.json()["run_id"]
    assert again["Idempotent-Replayed"] == "true"
    assert first.json()["session_id"] == "desk"
    assert first.json()["request"]["source_plugin"] == "http"
    assert Run.objects.count() == 1


def test_the_run_says_of_which_event_it_is() -> None:
    make_connector(fixed_session_id="desk")
    said = post({**EVENT, "metadata": {"k": "v"}}).json()["metadata"]
    assert said["k"] == "v"
    assert said["http_ingress_key"] == said["connector_ingress_key"] == IngressReceipt.objects.get().key
    assert said["http_ingress_key_sha256"] == hashlib.sha256(b"order-123").hexdigest()
    assert said["http_ingress_fingerprint"] == IngressReceipt.objects.get().fingerprint


def test_the_same_key_with_another_body_is_a_conflict() -> None:
    make_connector(fixed_session_id="desk")
    post()
    answer = post({**EVENT, "content": "disk empty"})
    assert answer.status_code == 409
    assert code_of(answer) == "ingress_conflict"
    assert answer.json()["domain"] == "connector_ingress"


@pytest.mark.parametrize("token", ["", "wrong", TOKEN + "x"])
def test_without_the_right_token_nothing_enters(token: str) -> None:
    make_connector(fixed_session_id="desk")
    answer = sender(token).post(ADDRESS, EVENT)
    assert answer.status_code == 401
    assert code_of(answer) == "ingress_unauthorized"
    assert not Run.objects.exists()
    assert IngressRefusal.objects.get().count == 1


def test_an_unknown_connector_is_not_found() -> None:
    answer = post()
    assert (answer.status_code, code_of(answer)) == (404, "connector_not_found")
    assert answer.json()["domain"] == "connector_ingress"


def test_a_paused_one_asks_to_come_back_and_a_disabled_one_refuses() -> None:
    make_connector(fixed_session_id="desk")
    connectors.set_paused("http", "alerts", True, principal="alice")
    answer = post()
    assert (answer.status_code, code_of(answer)) == (503, "connector_paused")
    assert int(answer["Retry-After"]) >= 1
    connectors.set_paused("http", "alerts", False, principal="alice")
    connectors.set_enabled("http", "alerts", False)
    assert code_of(post()) == "connector_disabled"
    connectors.set_enabled("http", "alerts", True)
    assert post().status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"content": "no key"}, "idempotency_key_required"),
        ({**EVENT, "idempotency_key": "  "}, "idempotency_key_required"),
        ({**EVENT, "surprise": 1}, "invalid_request"),
        ({**EVENT, "metadata": {"connector_ingress_key": "x"}}, "reserved_metadata"),
        ({**EVENT, "reply_plugin": "http", "reply_address": "http://x"}, "reply_targets_not_allowed"),
        ({**EVENT, "reply_targets": [{"plugin": "daemon", "address": "a"}]}, "reply_targets_not_allowed"),
        ({**EVENT, "content": ""}, "input_empty"),
        ({**EVENT, "input_items": [{"type": "text", "text": "both"}]}, "input_ambiguous"),
        ({"idempotency_key": "k", "input_items": [{"type": "text", "text": 5}]}, "invalid_request"),
        ({"idempotency_key": "k", "input_items": [{"type": "text", "txt": "odd"}]}, "invalid_request"),
        ({"idempotency_key": "k", "attachments": [{"url": "http://x"}]}, "invalid_request"),
        ({**EVENT, "idempotency_key": "k" * 1001}, "invalid_request"),
        ([], "invalid_request"),
    ],
)
def test_what_an_event_may_not_say(body: Any, code: str) -> None:
    make_connector(fixed_session_id="desk")
    answer = post(body)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert answer.json()["domain"] == "connector_ingress"
    assert not (Run.objects.exists() or IngressReceipt.objects.exists() or Session.objects.exists())


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b'{"content": NaN}', b'{"a":1,"a":2}'])
def test_what_is_no_json_is_told_so(raw: bytes) -> None:
    make_connector(fixed_session_id="desk")
    answer = send(raw, {"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_json")


def test_payload_targets_where_they_are_allowed() -> None:
    make_connector(fixed_session_id="desk", allow_payload_reply_targets=True)
    answer = post({**EVENT, "reply_plugin": "daemon", "reply_address": "desk"})
    assert answer.status_code == 200
    assert Run.objects.get().reply_targets == [{"plugin": "daemon", "address": {"session_id": "desk"}}]
    answer = post({**EVENT, "idempotency_key": "b", "reply_plugin": "nowhere", "reply_address": "desk"})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_reply_target")
    inside = {"url": "http://10.0.0.1/", "allow_private_network": True}
    answer = post({**EVENT, "idempotency_key": "c", "reply_plugin": "http", "reply_address": inside})
    assert (answer.status_code, code_of(answer)) == (400, "reply_targets_not_allowed")


def test_keys_of_the_payload_replace_those_of_the_connector() -> None:
    make_connector(default_binding_keys=["default"])
    one = post({"content": "a", "idempotency_key": "1"}).json()["session_id"]
    assert one == f"http:alerts:{hashlib.sha256(b'default').hexdigest()[:16]}"
    two = post({"content": "b", "idempotency_key": "2", "binding_keys": ["z", "customer"]}).json()[
        "session_id"
    ]
    assert two == f"http:alerts:{hashlib.sha256(b'customer').hexdigest()[:16]}"
    three = post({"content": "c", "idempotency_key": "3", "binding_keys": ["z"]}).json()["session_id"]
    assert three == two


def test_an_event_that_names_no_session_is_refused() -> None:
    make_connector()
    answer = post()
    assert (answer.status_code, code_of(answer)) == (400, "session_unresolved")


def test_a_named_session_is_bound_to_the_keys() -> None:
    make_connector()
    post({**EVENT, "session_id": "ticket-456", "binding_keys": ["ticket"]})
    answer = post({"content": "more", "idempotency_key": "2", "binding_keys": ["ticket"]})
    assert answer.json()["session_id"] == "ticket-456"


@pytest.mark.parametrize("is_open", [True, False])
def test_who_proves_nothing_is_not_told_what_the_run_said(is_open: bool) -> None:
    secrets = {} if is_open else None
    make_connector(secrets=secrets, allow_unauthenticated_ingress=is_open, fixed_session_id="desk")
    client = sender("" if is_open else TOKEN)
    first = client.post(ADDRESS, EVENT).json()
    said = [{"content": "the database password is on the wall"}]
    Run.objects.update(status="failed", outputs=said, error={"code": "model_refused", "detail": "no"})
    again = client.post(ADDRESS, EVENT).json()
    assert again["run_id"] == first["run_id"]
    assert again["outputs"] == ([] if is_open else said), "the shape of a run stays"
    assert ("error" in again) is not is_open


def test_open_connectors_take_no_names_from_strangers() -> None:
    make_connector(
        secrets={},
        allow_unauthenticated_ingress=True,
        default_binding_keys=["door"],
        require_idempotency_key=True,
    )
    client = sender("")
    assert client.post(ADDRESS, EVENT).status_code == 200
    for more, code in (
        ({"session_id": "desk"}, "session_not_allowed"),
        ({"binding_keys": ["mine"]}, "session_not_allowed"),
        ({"reply_targets": []}, "reply_targets_not_allowed"),
    ):
        answer = client.post(ADDRESS, {"content": "x", "idempotency_key": "2", **more})
        assert (answer.status_code, code_of(answer)) == (400, code)
    answer = client.post(
        ADDRESS, {"input_items": [{"type": "asset_reference", "asset_id": "a"}], "idempotency_key": "3"}
    )
    assert code_of(answer) == "asset_not_allowed"


def test_the_documented_vector_verifies_and_any_change_fails() -> None:
    check_signature(VECTOR, SECRET, max_age_seconds=300, now=1710000000 + 300)
    changed = [
        {"body": VECTOR.body + b" "},
        {"method": "PUT"},
        {"target": VECTOR.target.replace("attempt=1", "attempt=2")},
        {"target": VECTOR.target.replace("%2F", "/")},
        {"headers": {**VECTOR.headers, "x-kheish-timestamp": "1710000001"}},
        {"headers": {**VECTOR.headers, "x-kheish-signature": "v1=" + "0" * 64}},
        {"headers": {**VECTOR.headers, "x-kheish-signature": VECTOR.headers["x-kheish-signature"].upper()}},
        {"headers": {}},
    ]
    for change in changed:
        with pytest.raises(KheishError) as refused:
            fields = {name: getattr(VECTOR, name) for name in ("method", "target", "headers", "body")}
            check_signature(Signed(**(fields | change)), SECRET, max_age_seconds=300, now=1710000000)
        assert refused.value.status == 401
    for late in (-301, 301):
        with pytest.raises(KheishError):
            check_signature(VECTOR, SECRET, max_age_seconds=300, now=1710000000 + late)


def test_a_signed_event_enters_with_its_query() -> None:
    make_signed()
    body = json.dumps(EVENT).encode()
    address = f"{ADDRESS}?source=a%2Fb&attempt=1"
    assert send(body, signed_headers(body, address=address), address).status_code == 200
    assert send(body, signed_headers(body), address).status_code == 401


def test_late_and_forged_signatures_are_refused() -> None:
    make_signed()
    body = json.dumps(EVENT).encode()
    for headers in (
        {},
        signed_headers(body, at=int(time.time()) - 301),
        signed_headers(body, secret="guessed"),
        signed_headers(body + b" "),
        {**signed_headers(body), "X-Kheish-Timestamp": "yesterday"},
    ):
        assert code_of(send(body, headers)) == "ingress_unauthorized"
    assert not Run.objects.exists()


def test_token_and_signature_are_both_needed_where_both_are_configured() -> None:
    make_connector(
        secrets={"hmac_secret": {"value": SECRET}, "bearer_token": {"value": TOKEN}},
        fixed_session_id="desk",
        require_hmac_signature=True,
    )
    body = json.dumps(EVENT).encode()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert send(body, bearer).status_code == 401
    assert send(body, signed_headers(body)).status_code == 401
    assert send(body, bearer | signed_headers(body)).status_code == 200


def test_standard_webhooks_are_verified_as_their_own_library_signs_them() -> None:
    secret = "whsec_" + base64.b64encode(b"a shared secret of 24 by").decode()
    make_connector(
        secrets={"hmac_secret": {"value": secret}},
        require_hmac_signature=True,
        body_format="event",
        event_instructions="A billing event came in.",
        event_binding_pointers=["/data/customer"],
    )
    body = json.dumps({"type": "invoice.paid", "data": {"customer": "cus_1", "lines": [1]}})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": "v1,bm9uZQ== " + Webhook(secret).sign("msg_1", now, body),
    }
    first, again = send(body.encode(), headers), send(body.encode(), headers)
    assert first.status_code == 200, first.content
    assert first.json()["run_id"] == again.json()["run_id"]
    assert "A billing event came in." in first.json()["input_items"][0]["text"]
    assert "cus_1" in first.json()["input_items"][0]["text"]
    other = json.dumps({"type": "invoice.void", "data": {"customer": "cus_1"}})
    headers |= {"webhook-id": "msg_2", "webhook-signature": Webhook(secret).sign("msg_2", now, other)}
    assert send(other.encode(), headers).json()["session_id"] == first.json()["session_id"]
    assert send(body.encode(), headers).status_code == 401
    assert send(other.encode(), {**headers, "webhook-id": "msg_3"}).status_code == 401


def test_the_persona_of_the_policy_must_be_the_sessions() -> None:
    make_persona("reviewer")
    make_connector(fixed_session_id="desk")
    post()
    connectors.put("http", "alerts", {"session_policy": {"persona_id": "reviewer"}}, {}, principal="alice")
    answer = post({"content": "again", "idempotency_key": "2"})
    assert (answer.status_code, code_of(answer)) == (409, "session_policy_mismatch")


def test_a_secret_that_is_gone_refuses_events_instead_of_letting_all_in() -> None:
    make_connector(secrets={"bearer_token": {"env": "NOT_SET_ANYWHERE_4711"}}, fixed_session_id="desk")
    answer = post()
    assert (answer.status_code, code_of(answer)) == (503, "connector_secret_unreadable")


def test_an_empty_secret_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMPTY_TOKEN_4711", "")
    make_connector(secrets={"bearer_token": {"env": "EMPTY_TOKEN_4711"}}, fixed_session_id="desk")
    assert code_of(sender("").post(ADDRESS, EVENT)) == "connector_secret_unreadable"
    assert not Run.objects.exists()


def test_a_captured_request_cannot_become_many_events() -> None:
    make_signed(body_format="event")
    body = json.dumps({"type": "paid"}).encode()
    headers = signed_headers(body)
    answers = [send(body, {**headers, "Idempotency-Key": key}) for key in ("a", "b", "c")]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    later = send(body, signed_headers(body, at=int(time.time()) - 5))
    assert later.json()["run_id"] != answers[0].json()["run_id"]


def test_the_bodys_own_id_names_a_foreign_event() -> None:
    make_signed(body_format="event", event_key_pointer="/id")
    for stamp in (0, int(time.time()) - 5):
        body = json.dumps({"id": "evt_1", "type": "paid"}).encode()
        assert send(body, signed_headers(body, at=stamp)).status_code == 200
    said = Run.objects.get().metadata
    assert said["http_ingress_key_sha256"] == hashlib.sha256(b"evt_1").hexdigest()


def test_a_header_names_no_event_of_ours_that_is_signed() -> None:
    make_signed()
    body = json.dumps({"content": "x"}).encode()
    answer = send(body, {**signed_headers(body), "Idempotency-Key": "a"})
    assert code_of(answer) == "idempotency_key_required"


def test_targets_of_an_event_must_exist_and_suit_the_session() -> None:
    make_connector(fixed_session_id="desk", allow_payload_reply_targets=True)
    target = {"plugin": "slack", "address": {"connector": "nope", "channel_id": "C1"}}
    answer = post({**EVENT, "reply_targets": [target]})
    assert (answer.status_code, code_of(answer)) == (404, "connector_not_found")
    assert not Run.objects.exists()

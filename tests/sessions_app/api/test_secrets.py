"""/v1/runtime/secrets: in, and never out."""

import pytest

from kheish_site.lib.redaction import redact
from sessions_app.models import IdempotencyRecord, SecretSlot
from sessions_app.services import secrets
from tests.factories import code_of, make_client, make_route, make_secret

pytestmark = pytest.mark.django_db

PATH = "/v1/runtime/secrets"
CANARY = "canary-0815-do-not-show"
BODY = {"slot_id": "main-key", "provider": "openai", "value": CANARY}


def test_put_then_rotate():
    client = make_client()
    first = client.post(PATH, BODY)
    assert first.status_code == 201, first.content
    assert first["Location"] == "/v1/runtime/secrets/main-key"
    second = client.post(PATH, {**BODY, "value": CANARY + "2"})
    assert (second.status_code, second.json()["revision"]) == (200, 2)
    assert secrets.reveal("main-key") == CANARY + "2"


def test_no_answer_and_no_row_shows_the_value():
    client = make_client()
    answers = [
        client.post(PATH, BODY, headers={"idempotency-key": "k"}),
        client.get(PATH),
        client.get(f"{PATH}/main-key"),
        client.get(f"{PATH}/{CANARY}"),
        client.post("/v1/personas", {"persona_id": "a", "soul": f"the key is {CANARY}"}),
    ]
    assert not [answer for answer in answers if CANARY in answer.content.decode()]
    assert answers[1].json()["items"][0]["state"] == "stored"
    assert CANARY not in str([*SecretSlot.objects.values(), *IdempotencyRecord.objects.values()])


@pytest.mark.parametrize("value", ["", "   ", "x" * 65_537])
def test_unusable_values(value):
    assert make_client().post(PATH, {**BODY, "value": value}).status_code == 400


def test_a_wrong_body_does_not_repeat_the_value():
    answer = make_client().post(PATH, {"slot_id": "a b", "value": CANARY, CANARY: 1})
    assert code_of(answer) == "invalid_request"


def test_operators_see_names_and_admins_write():
    make_secret()
    assert make_client("viewer").get(PATH).status_code == 403
    assert make_client("operator").get(PATH).status_code == 200
    assert make_client("operator").post(PATH, BODY).status_code == 403


def test_delete_unless_used():
    make_secret()
    route = make_route(auth_ref="main-key")
    client = make_client()
    assert client.get(f"{PATH}/main-key").json()["referenced_by"] == [f"route:{route.route_id}"]
    answer = client.delete(f"{PATH}/main-key")
    assert (answer.status_code, code_of(answer)) == (409, "secret_in_use")
    route.delete()
    assert client.delete(f"{PATH}/main-key").status_code == 204
    assert code_of(client.delete(f"{PATH}/main-key")) == "secret_not_found"
    assert code_of(client.get(f"{PATH}/main-key")) == "secret_not_found"


def test_other_processes_learn_new_values(django_assert_num_queries):
    value = "learned-by-others-1"
    secrets.refresh_redaction()
    # What another process would have stored: this one's funnel has not seen it.
    slot = make_secret("main-key", "placeholder-value")
    from kheish_site.lib import crypto

    SecretSlot.objects.filter(pk=slot.pk).update(sealed=crypto.seal(value.encode()), revision=7)
    assert redact(f"key {value}") == f"key {value}"
    secrets.refresh_redaction()
    assert redact(f"key {value}") == "key [redacted]"
    with django_assert_num_queries(1):
        secrets.refresh_redaction()
    with django_assert_num_queries(0):
        secrets.refresh_redaction(max_age_seconds=60)


def test_an_unreadable_slot_does_not_stop_the_others():
    SecretSlot.objects.create(slot_id="a-broken", sealed="gAAAAA")
    make_secret("b-good")
    secrets.refresh_redaction()
    states = {item["slot_id"]: item["state"] for item in make_client().get(PATH).json()["items"]}
    assert states == {"a-broken": "unreadable", "b-good": "stored"}


def test_a_value_is_masked_inside_json_text_too():
    make_secret("pem", "line one\nline two\nline three")
    assert "line one" not in redact('{"key": "line one\\nline two\\nline three"}')

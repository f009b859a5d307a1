"""One key, one answer."""

import threading
from datetime import timedelta

import pytest
from django.db import connection

from kheish_site.lib import clock
from kheish_site.lib.transactions import write
from sessions_app.models import ApiToken, IdempotencyRecord, Persona
from sessions_app.services import idempotency
from tests.factories import code_of, make_client
from tests.sessions_app.streams.helpers import in_threads
from tests.support.engine import waiting_backends
from tests.support.service_process import until

PATH = "/v1/personas"


def post(client, key, body=None, path=PATH, **extra):
    return client.post(path, body or {"persona_id": "reviewer"}, headers={"idempotency-key": key}, **extra)


@pytest.mark.django_db
def test_the_repeat_gets_the_first_answer():
    client = make_client()
    first, again = post(client, "k1"), post(client, "k1")
    assert first.status_code == again.status_code == 201
    assert again.content == first.content
    assert again["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first
    assert (again["ETag"], again["Location"]) == (first["ETag"], first["Location"])
    assert Persona.objects.count() == 1


@pytest.mark.django_db
def test_header_and_member_are_the_same_key():
    client = make_client()
    first = post(client, "k1")
    again = client.post(PATH, {"persona_id": "reviewer", "idempotency_key": "k1"})
    assert (again.status_code, again.content) == (201, first.content)
    both = post(client, "k1", {"persona_id": "reviewer", "idempotency_key": "k2"})
    assert code_of(both) == "invalid_idempotency_key"


@pytest.mark.django_db
def test_another_request_under_the_key_is_409():
    client = make_client()
    post(client, "k1")
    other = post(client, "k1", {"persona_id": "writer"})
    assert (other.status_code, code_of(other)) == (409, "idempotency_conflict")
    elsewhere = post(client, "k1", {"route_id": "a", "driver": "scripted"}, path="/v1/routes")
    assert code_of(elsewhere) == "idempotency_conflict"
    assert not Persona.objects.filter(persona_id="writer").exists()


@pytest.mark.django_db
def test_keys_belong_to_their_caller():
    post(make_client(), "k1")
    assert code_of(post(make_client(), "k1")) == "persona_exists"


@pytest.mark.django_db
def test_errors_are_not_stored():
    client = make_client()
    assert post(client, "k1", {"persona_id": "a b"}).status_code == 400
    assert post(client, "k1").status_code == 201


@pytest.mark.django_db
@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 201])
def test_unusable_keys(key):
    assert code_of(post(make_client(), key)) == "invalid_idempotency_key"


@pytest.mark.django_db
@pytest.mark.parametrize("member", [1, None, "", {}, "a\n"])
def test_unusable_members(member):
    answer = make_client().post(PATH, {"persona_id": "reviewer", "idempotency_key": member})
    assert answer.status_code == (201 if member is None else 400)


@pytest.mark.django_db
def test_an_answer_with_a_secret_is_stored_sealed():
    client = make_client()
    body = {"name": "ci", "role": "viewer"}
    first, again = (post(client, "k1", body, path="/v1/tokens") for _ in range(2))
    assert first.json()["token"] == again.json()["token"]
    assert first.json()["token"] not in str(IdempotencyRecord.objects.values())
    assert ApiToken.objects.filter(name="ci").count() == 1


@pytest.mark.django_db
def test_a_key_is_free_again_after_a_week():
    client = make_client()
    first = post(client, "k1")
    IdempotencyRecord.objects.update(created_at=clock.now() - timedelta(days=6))
    assert post(client, "k1").content == first.content
    IdempotencyRecord.objects.update(created_at=clock.now() - timedelta(days=8))
    assert post(client, "k1", {"persona_id": "writer"}).status_code == 201
    assert idempotency.purge() == 0
    IdempotencyRecord.objects.update(created_at=clock.now() - timedelta(days=8))
    assert idempotency.purge() == 1


@pytest.mark.services_only
@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_taken_again_while_it_is_purged_stays():
    claim = idempotency.Claim(principal="p", key="k", fingerprint="f")
    with write():
        idempotency.finish(idempotency.begin(claim), idempotency.Answer(status=200, body={}))
    IdempotencyRecord.objects.update(created_at=clock.now() - timedelta(days=8))
    purged = []
    with write():
        record = idempotency.begin(claim)
        (purging,) = in_threads(lambda: purged.append(idempotency.purge()))
        until(lambda: waiting_backends() > 0, 10, lambda: "nobody waits")
        idempotency.finish(record, idempotency.Answer(status=201, body={}))
    purging.join()
    assert purged == [0] and IdempotencyRecord.objects.get().status == 201


@pytest.mark.django_db(transaction=True)
def test_racing_requests_do_the_work_once():
    clients = [make_client("admin", "racer")]
    clients += [type(clients[0])() for _ in range(7)]
    for client in clients[1:]:
        client.credentials(**clients[0]._credentials)
    start, answers = threading.Barrier(len(clients)), []

    def race(client):
        try:
            start.wait(timeout=10)
            answers.append(post(client, "k1"))
        finally:
            connection.close()

    threads = [threading.Thread(target=race, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len([answer for answer in answers if "Idempotent-Replayed" not in answer]) == 1
    assert Persona.objects.count() == 1

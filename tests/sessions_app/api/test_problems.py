"""Whatever goes wrong, the answer is a problem document."""

import gzip
from io import BytesIO

import pytest
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.db import OperationalError
from django.test import Client

from sessions_app.api.views.personas import Personas
from sessions_app.services import personas, tokens
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db

JSON = "application/json"


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nothing", "/v1/personas/", "/v1/personas/a/b", "/v1/%00"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_unknown_paths(path, method):
    answer = Client().generic(method, path)
    assert (answer.status_code, code_of(answer)) == (404, "api/route_not_found")


def test_unknown_method():
    answer = make_client().patch("/v1/personas", {})
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize("method", ["options", "trace"])
def test_methods_nobody_needs(method):
    answer = getattr(make_client(), method)("/v1/personas")
    assert answer.status_code == 405
    assert "POST" in answer["Allow"]


def test_not_acceptable():
    answer = make_client().get("/v1/personas", headers={"accept": "text/html"})
    assert (answer.status_code, code_of(answer)) == (406, "not_acceptable")


def test_a_body_of_another_media_type_is_415():
    answer = make_client().post("/v1/personas", "a=b", content_type="application/x-www-form-urlencoded")
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")


def test_a_packed_body_is_not_taken_for_broken_json():
    client, packed = make_client(), gzip.compress(b'{"persona_id": "p"}')
    answer = client.post("/v1/personas", packed, content_type=JSON, headers={"content-encoding": "gzip"})
    assert (answer.status_code, code_of(answer)) == (415, "unsupported_media_type")
    assert "Content-Encoding" in answer.json()["detail"]


@pytest.mark.parametrize("body", ["{", "[" * 100_000, '{"persona_id": "a\\u0000"}', '{"metadata": 1e999}'])
def test_unreadable_json(body):
    answer = make_client().post("/v1/personas", body, content_type=JSON)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_json")


@pytest.mark.parametrize("body", ["[]", "null", "5", '"text"'])
def test_json_that_is_no_object(body):
    answer = make_client().post("/v1/personas", body, content_type=JSON)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


def test_a_body_over_the_limit_is_413():
    body = b'{"soul": "' + b"a" * settings.KHEISH.max_body_bytes + b'"}'
    answer = make_client().generic("POST", "/v1/personas", body, JSON)
    assert (answer.status_code, code_of(answer)) == (413, "payload_too_large")


def chunked(size):
    """The answer to a POST whose length only its end tells, as the ASGI server hands it over."""
    _, secret = tokens.create(f"chunked-{size}", role="admin")
    headers = {"authorization": f"Bearer {secret}", "content-type": JSON, "transfer-encoding": "chunked"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/personas",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    body = b'{"persona_id": "a", "soul": "' + b"a" * size + b'"}'
    return Personas.as_view()(ASGIRequest(scope, BytesIO(body)))


def test_a_body_without_a_length_is_read():
    assert chunked(10).data["persona_id"] == "a"
    answer = chunked(settings.KHEISH.max_body_bytes)
    assert (answer.status_code, answer.data["code"]) == (413, "payload_too_large")


def test_unknown_and_wrong_members_are_pointed_at():
    answer = make_client().post("/v1/personas", {"persona_id": "a b", "sole": "x"})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert {"pointer": "/sole", "detail": "unknown field"} in answer.json()["errors"]


@pytest.mark.parametrize("query", ["?nothing=1", "?format=json", "?limit=1&limit=2", "?query=%00"])
def test_unknown_query(query):
    answer = make_client().get(f"/v1/personas{query}")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert answer.json()["errors"][0]["parameter"]


def test_a_query_on_a_write_is_unknown():
    answer = make_client().post("/v1/personas?limit=1", {"persona_id": "a"})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("?limit=0", "invalid_limit"),
        ("?limit=ten", "invalid_limit"),
        ("?cursor=zzz", "invalid_cursor"),
        ("?cursor=", "invalid_cursor"),
    ],
)
def test_pagination_codes(query, code):
    answer = make_client().get(f"/v1/personas{query}")
    assert (answer.status_code, code_of(answer)) == (400, code)


def test_nul_in_an_id_is_not_found():
    answer = make_client().get("/v1/personas/a%00b")
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


def test_a_wrong_host_is_a_problem_too(settings):
    settings.ALLOWED_HOSTS = ["only.example"]
    answer = Client().get("/v1/personas")
    assert (answer.status_code, code_of(answer)) == (400, "bad_request")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ZeroDivisionError("inner"), 500, "internal_error"),
        (OperationalError("gone"), 503, "service_unavailable"),
    ],
)
def test_unexpected_failures_show_nothing(monkeypatch, caplog, error, status, code):
    def fail(persona_id):
        raise error

    monkeypatch.setattr(personas, "get", fail)
    answer = make_client().get("/v1/personas/a")
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert "inner" not in answer.content.decode()
    assert any(record.exc_info or record.exc_text for record in caplog.records)


def test_a_caller_may_name_the_request():
    given = Client().get("/v1/nothing", headers={"x-request-id": "deploy-7"})
    assert given["X-Request-ID"] == given.json()["request_id"] == "deploy-7"
    forged = Client().get("/v1/nothing", headers={"x-request-id": "a b\tc"})
    assert forged["X-Request-ID"].startswith("req_")


def test_a_secret_in_a_mistake_is_not_repeated():
    answer = make_client().get("/v1/runtime/secrets/kh_abcdefghijklmnopqrstuvwxyz")
    assert "abcdefghij" not in answer.content.decode()


def test_too_many_requests(settings):
    settings.REQUESTS_PER_MINUTE = 2
    client = make_client("viewer", "runaway")
    answers = [client.get("/v1/capabilities") for _ in range(4)]
    assert [answer.status_code for answer in answers][:2] == [200, 200]
    assert code_of(answers[-1]) == "rate_limited"
    assert int(answers[-1]["Retry-After"]) >= 1

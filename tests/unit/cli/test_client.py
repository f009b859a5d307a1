"""Requests: idempotency, repeats, pages, revisions, and failures with their exit codes."""

import pytest

from kheish_site.cli.client import Client, path
from kheish_site.cli.transport import Problem, Unreachable
from kheish_site.testing.ports import free_port
from tests.unit.cli.fake_service import TOKEN, Answer, page, problem

RUN = {"run_id": "run_1", "session_id": "demo", "status": "queued", "queued_position": 2}


@pytest.fixture
def client(service) -> Client:
    return Client(service.url, TOKEN)


def test_a_lost_answer_is_asked_again_with_the_same_key(service, client) -> None:
    service.on("POST", "/v1/sessions/demo/runs", Answer(202, RUN))
    service.drop_next = 2
    assert client.sessions("demo").input("hello").run_id == "run_1"
    keys = {seen.headers["idempotency-key"] for seen in service.seen}
    assert len(service.seen) == 3
    assert len(keys) == 1


def test_two_posts_have_two_keys(service, client) -> None:
    service.on("POST", "/v1/sessions", Answer(201, {"session_id": "demo"}))
    client.sessions("demo").create()
    client.sessions("demo").create()
    assert len({seen.headers["idempotency-key"] for seen in service.seen}) == 2


def test_a_put_is_not_repeated(service, client) -> None:
    service.drop_next = 1
    with pytest.raises(Unreachable):
        client.request("PUT", "/v1/routes/x", {})
    assert len(service.seen) == 1


def test_pages_follow_the_cursor(service, client) -> None:
    service.on("GET", "/v1/runs", [page({"n": 1}, next_cursor="c1"), page({"n": 2})])
    assert [item["n"] for item in client.pages("/v1/runs")] == [1, 2]
    assert service.last("GET").query == {"limit": "100", "cursor": "c1"}


def test_a_change_carries_the_etag_it_saw(service, client) -> None:
    service.on("GET", "/v1/personas/p", Answer(200, {"revision": 4}, {"ETag": '"abc"'}))
    service.on("PUT", "/v1/personas/p", {"revision": 5})
    assert client.change(path("personas", "p"), {"soul": "x"}) == {"revision": 5}
    assert service.last("PUT").headers["if-match"] == '"abc"'


def test_short_retry_after_is_honoured(service, client) -> None:
    busy = problem(429, "rate_limited", "slow down")
    busy.headers["Retry-After"] = "0"
    service.on("GET", "/v1/status", [busy, {"status": "ready"}])
    assert client.get("/v1/status") == {"status": "ready"}


def test_long_retry_after_is_reported(service, kheish) -> None:
    busy = problem(429, "rate_limited", "slow down")
    busy.headers["Retry-After"] = "120"
    service.on("GET", "/v1/status", busy)
    result = kheish("status")
    assert (result.code, len(service.seen)) == (1, 1)
    assert "Try again in 120 s" in result.err


def test_ids_cannot_become_other_paths() -> None:
    assert path("sessions", "..?tokens#x%e") == "/v1/sessions/..%3Ftokens%23x%25e"


def test_what_can_be_no_id_is_not_asked_for(service, kheish) -> None:
    result = kheish("sessions", "get", "a/b?c#d%e")
    assert (result.code, service.seen) == (2, [])
    assert "'a/b?c#d%e' is no id" in result.err and "letters, digits and . _ : @ -" in result.err


def test_an_empty_id_is_refused_here(service, kheish) -> None:
    result = kheish("runs", "get", "")
    assert (result.code, service.seen) == (2, [])
    assert result.err == "error: an id is empty\n  Is a variable of the shell not set?\n"


def test_nobody_there(kheish) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    result = kheish("runs", "list", "--base-url", url)
    assert result.code == 7
    assert f"no service at {url} (connection refused)" in result.err
    assert "python3 manage.py serve" in result.err
    assert result.out == ""


def test_not_signed_in(kheish) -> None:
    result = kheish("runs", "list", env={"KHEISH_TOKEN": ""})
    assert result.code == 4
    assert "KHEISH_TOKEN" in result.err


def test_a_refused_token_names_its_source(kheish) -> None:
    result = kheish("runs", "list", env={"KHEISH_TOKEN": "kh_wrong"})
    assert result.code == 4
    assert "The token from KHEISH_TOKEN is not accepted" in result.err
    assert "kh_wrong" not in result.err


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (400, "invalid_limit", 2),
        (403, "forbidden", 4),
        (404, "x", 1),
        (409, "run_state_conflict", 6),
        (412, "precondition_failed", 6),
        (422, "unprocessable", 2),
        (500, "internal_error", 1),
        (503, "draining", 7),
    ],
)
def test_statuses_map_to_exit_codes(service, kheish, status, code, exit_code) -> None:
    service.on("GET", "/v1/runs", problem(status, code, "the detail"))
    result = kheish("runs", "list")
    assert result.code == exit_code
    assert "the detail" in result.err


def test_unknown_ids_say_what_to_try(service, kheish) -> None:
    service.on("GET", "/v1/runs/run_x", problem(404, "run_not_found", "no run run_x"))
    result = kheish("runs", "get", "run_x")
    assert result.code == 1
    assert "kheish runs list" in result.err


def test_an_unknown_address_is_a_matter_of_versions(kheish) -> None:
    result = kheish("runs", "get", "run_x")
    assert result.code == 1
    assert "kheish status" in result.err


def test_an_unknown_session_may_be_made(service, kheish) -> None:
    service.on("POST", "/v1/sessions/demo/runs", problem(404, "session_not_found", "no session demo"))
    assert "kheish sessions create demo" in kheish("sessions", "input", "demo", "hi").err


def test_field_errors_are_listed(service, kheish) -> None:
    errors = [{"pointer": "/model", "detail": "unknown\x1b[2J"}, "and this"]
    service.on("GET", "/v1/runs", problem(400, "bad_request", "invalid", errors=errors))
    assert "  model: unknown\n  and this\n" in kheish("runs", "list").err


def test_an_html_error_page_is_no_traceback(service, client) -> None:
    service.on("GET", "/v1/status", Answer(502, "<html>bad gateway</html>"))
    with pytest.raises(Problem) as caught:
        client.get("/v1/status")
    assert caught.value.detail == "Bad Gateway"


def test_suggested_commands_repeat_the_address(service, kheish) -> None:
    service.on("GET", "/v1/runs/run_x", problem(404, "run_not_found", "no run"))
    assert (
        f"kheish runs list --base-url {service.url}"
        in kheish("runs", "get", "run_x", "--base-url", service.url).err
    )

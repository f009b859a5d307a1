"""Refusals, silence and lost connections, and what must not leak from them."""

import datetime
import email.utils
import logging
import threading
import traceback
from typing import Any

import pytest

from sessions_app.providers import registry
from sessions_app.providers.base import Endpoint, ProviderError, Timeouts
from tests.support.fault_server import FaultServer, finish, in_turn, plain, stream, text
from tests.unit.providers.conftest import API_KEY, Ask, make_request


def failure(ask: Ask, **how: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        ask(**how)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable"),
    [
        (400, {"error": {"message": "bad", "type": "invalid_request_error"}}, "invalid", False),
        (400, {"error": {"message": "x", "code": "context_length_exceeded"}}, "overflow", False),
        (
            400,
            {"error": {"code": 400, "message": "the request exceeds the available context size"}},
            "overflow",
            False,
        ),
        (400, [{"error": {"code": 400, "message": "API_KEY_INVALID: API key not valid"}}], "auth", False),
        (401, "no", "auth", False),
        (402, {"error": {"message": "Insufficient Balance", "code": 402}}, "rate_limited", False),
        (403, {"detail": "forbidden"}, "auth", False),
        (404, {"error": "model 'x' not found"}, "invalid", False),
        (408, {}, "transport", True),
        (413, "<html>Request Entity Too Large</html>", "overflow", False),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, "invalid", False),
        (429, {"error": {"message": "quota", "type": "insufficient_quota"}}, "rate_limited", False),
        (
            429,
            {"error": {"message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}},
            "rate_limited",
            True,
        ),
        (500, {"error": None}, "overloaded", True),
        (502, "<html>bad gateway</html>", "overloaded", True),
        (503, [], "overloaded", True),
        (529, {"error": {"type": "overloaded_error"}}, "overloaded", True),
    ],
)
def test_status_and_body(
    server: FaultServer, ask: Ask, status: int, body: Any, kind: str, retryable: bool
) -> None:
    server.answer = plain(status, body)
    error = failure(ask)
    assert (error.kind, error.retryable, error.status) == (kind, retryable, status)
    assert f"HTTP {status}" in error.message
    assert len(error.message) <= 500


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "This model's maximum prompt length is 131072 but the request contains 537812", "overflow"),
        (400, "Prompt exceeds max length", "overflow"),
        (400, "Your request exceeded model token limit: 262144", "overflow"),
        (400, "Range of input length should be [1, 129024]", "overflow"),
        (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097", "overflow"),
        (
            429,
            "Request too large on tokens per min (TPM): Limit 30000, Requested 42000. The input or output "
            "tokens must be reduced in order to run successfully.",
            "overflow",
        ),
        (429, "Too many tokens, please wait before trying again.", "rate_limited"),
    ],
)
def test_ways_to_say_that_it_is_too_long(
    server: FaultServer, ask: Ask, status: int, message: str, kind: str
) -> None:
    server.answer = plain(status, {"error": {"message": message}})
    assert failure(ask).kind == kind


def test_redirects_are_not_followed(server: FaultServer, ask: Ask) -> None:
    server.answer = plain(307, "", location="http://127.0.0.1:9/v1")
    assert failure(ask).kind == "invalid"
    assert len(server.exchanges) == 1


def test_retry_after_forms(server: FaultServer, ask: Ask) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    server.answer = in_turn(
        [
            plain(429, {}, retry_after="2"),
            plain(429, {}, retry_after_ms="1500"),
            plain(503, {}, retry_after=email.utils.format_datetime(soon, usegmt=True)),
            plain(429, {}, retry_after="a while"),
            plain(429, {}, retry_after="Mon, 1 Jan 99999999999999999999 00:00:00 GMT"),
        ]
    )
    waits = [failure(ask).retry_after_seconds for _ in range(5)]
    assert waits[:2] == [2, 1.5]
    assert 25 < (waits[2] or 0) <= 30
    assert waits[3:] == [None, None]


def test_a_wait_too_long_to_be_waited_for_is_told(server: FaultServer, ask: Ask) -> None:
    server.answer = plain(429, {"error": {"message": "slow down"}}, retry_after="3600")
    assert failure(ask).message == ("HTTP 429: asks to wait 3600 seconds, too long to ask again: slow down")


def test_nothing_listens(cancelled: threading.Event) -> None:
    endpoint = Endpoint(driver="openai", base_url="http://127.0.0.1:9/v1", api_key=API_KEY)
    with pytest.raises(ProviderError, match="Connection refused") as caught:
        next(registry.build(endpoint).stream(make_request(), cancelled=cancelled))
    assert (caught.value.kind, caught.value.retryable) == ("transport", True)


def test_the_key_is_in_no_message_repr_or_traceback(
    server: FaultServer, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    header = "Bearer second-canary-99"
    server.answer = plain(401, {"error": {"message": f"Incorrect API key provided: {API_KEY} and {header}"}})
    error = failure(ask, options={"headers": {"X-Team": header}})
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + caplog.text
    assert error.__context__ is None
    assert error.__cause__ is None
    assert API_KEY not in shown
    assert "second-canary-99" not in shown
    assert "[redacted]" in error.message
    assert API_KEY not in repr(
        Endpoint(driver="openai", api_key=API_KEY, options={"headers": {"X": API_KEY}})
    )


def test_words_of_headers_are_hidden_without_their_scheme_and_short_ones_shown(
    server: FaultServer, ask: Ask
) -> None:
    server.answer = plain(401, {"error": {"message": "no project 1 for the token canary-of-a-header"}})
    headers = {"X-Token": "Bearer canary-of-a-header", "X-Tier": "1"}
    assert failure(ask, options={"headers": headers}).message == (
        "HTTP 401: no project 1 for the token [redacted]"
    )


@pytest.mark.parametrize("key", ["sk-with\nnewline", "sk-ünicode", "two words"])
def test_a_key_no_header_can_carry(key: str) -> None:
    with pytest.raises(ProviderError, match="characters") as caught:
        registry.build(Endpoint(driver="openai", api_key=key))
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Team": "canary-1234\n"},
        {"X-Team": "é"},
        {"X-Team": " canary-1234"},
        {"X Team": "a"},
        {"": "a"},
        {"Content-Length": "3"},
        {"transfer-encoding": "chunked"},
    ],
)
def test_headers_that_cannot_be_sent(headers: dict[str, Any]) -> None:
    endpoint = Endpoint(driver="openai", base_url="http://127.0.0.1:9/v1", options={"headers": headers})
    (problem,) = registry.problems(endpoint)
    assert "option headers" in problem
    assert "canary" not in problem


def test_a_host_that_has_no_such_name(cancelled: threading.Event) -> None:
    endpoint = Endpoint(driver="openai", base_url="http://a..b/v1", api_key=API_KEY)
    with pytest.raises(ProviderError, match="cannot be made") as caught:
        list(registry.build(endpoint).stream(make_request(), cancelled=cancelled))
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize("url", ["ftp://x/v1", "nonsense", "http://user:secret@127.0.0.1/v1", "http://"])
def test_base_urls_that_cannot_be(url: str) -> None:
    assert registry.problems(Endpoint(driver="openai", base_url=url, api_key="k"))


def test_without_a_key_no_authorization_is_sent(
    server: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-from-the-environment")
    ask(api_key="")
    headers = {name.lower(): value for name, value in server.exchanges[0].headers.items()}
    assert "authorization" not in headers
    assert "openai-organization" not in headers


def test_there_are_no_hidden_retries(server: FaultServer, ask: Ask) -> None:
    server.answer = plain(503, {})
    failure(ask)
    assert len(server.exchanges) == 1


@pytest.mark.parametrize(
    ("generation", "field", "instead"),
    [
        ({}, "stream_options", None),
        ({"allow_parallel_tool_calls": False}, "parallel_tool_calls", None),
        ({"max_output_tokens": 50}, "max_tokens", "max_completion_tokens"),
    ],
)
def test_a_refused_optional_field_is_dropped_and_remembered(
    server: FaultServer, ask: Ask, generation: dict[str, Any], field: str, instead: str | None
) -> None:
    refusal = plain(400, {"error": {"message": f"Unsupported parameter: '{field}'", "param": field}})
    server.answer = in_turn([refusal, stream(text("ok"), finish()), stream(text("again"), finish())])
    request = make_request(generation=generation)
    assert (ask(request).text, ask(request).text) == ("ok", "again")
    first, second, third = (exchange.body for exchange in server.exchanges)
    assert field in first
    assert field not in second
    assert field not in third
    assert instead is None or second[instead] == 50


@pytest.mark.parametrize(
    "refusal",
    [
        {"message": "max_tokens is too large: 9. At most 4 completion tokens.", "param": "max_tokens"},
        {"message": "Invalid value", "param": "max_tokens", "code": "integer_above_max_value"},
    ],
)
def test_a_value_that_is_refused_is_no_field_the_server_does_not_know(
    server: FaultServer, ask: Ask, refusal: dict[str, Any]
) -> None:
    server.answer = in_turn([plain(400, {"error": refusal}), stream(text("ok"), finish())])
    assert failure(ask, request=make_request(generation={"max_output_tokens": 9})).kind == "invalid"
    assert ask(make_request(generation={"max_output_tokens": 4})).text == "ok"
    assert server.exchanges[1].body["max_tokens"] == 4


def test_a_refusal_that_is_about_something_else_stays_one(server: FaultServer, ask: Ask) -> None:
    server.answer = plain(400, {"error": {"message": "temperature is not supported", "param": "temperature"}})
    assert failure(ask).kind == "invalid"
    assert len(server.exchanges) == 1


def test_silence_before_the_headers(server: FaultServer, ask: Ask) -> None:
    server.answer = lambda exchange: exchange.wait(5)
    error = failure(ask, read=0.1)
    assert (error.kind, "no answer in time" in error.message) == ("transport", True)


def test_a_stream_that_drips_forever_meets_the_total_timeout(server: FaultServer, ask: Ask) -> None:
    def drip(exchange: Any) -> None:
        exchange.head(content_type="text/event-stream")
        for _ in range(200):
            exchange.send(b": still here\n\n")
            exchange.wait(0.02)

    server.answer = drip
    error = failure(ask, read=1, total=0.3)
    assert (error.kind, "0.3 seconds" in error.message) == ("transport", True)


def test_timeouts_come_from_the_options() -> None:
    endpoint = Endpoint(driver="openai", options={"read_timeout_seconds": 7})
    assert (endpoint.limits().read_seconds, endpoint.limits().total_seconds) == (7, Timeouts().total_seconds)
    bad = Endpoint(driver="openai", options={"total_timeout_seconds": "soon"})
    assert registry.problems(bad) == ["option total_timeout_seconds must be above 0, at most 86400"]

"""Runs whose route leads to a server that answers as compatible servers do, odd ones included."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sessions_app.engine import loop
from sessions_app.models import Route, Run, Session
from sessions_app.providers import http_client
from sessions_app.services import runs
from sessions_app.services.heartbeat import Heartbeat
from tests.sessions_app.engine.conftest import submit
from tests.support.engine import check_session
from tests.support.fault_server import (
    Answer,
    Exchange,
    FaultServer,
    delta,
    finish,
    in_turn,
    plain,
    stream,
    text,
    tool,
)

pytestmark = pytest.mark.django_db(transaction=True)
Ask = Callable[..., Run]


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running
        http_client.close()


@pytest.fixture
def ask(server: FaultServer, session: Session, heartbeat: Heartbeat) -> Ask:
    """Drive one run to its end while the server gives these answers in turn."""

    def make(*answers: Answer, content: str = "hello", **options: Any) -> Run:
        Route.objects.update_or_create(
            route_id="served",
            defaults={
                "driver": "openai",
                "model": "m",
                "base_url": server.base_url,
                "is_default": True,
                "options": options,
            },
        )
        server.answer = in_turn(answers)
        run = submit(session, content)
        loop.drive(session.pk, heartbeat)
        check_session(session.pk)
        return runs.get(run.run_id)

    return make


@pytest.mark.parametrize("count", [2**31, 2**63, 10**30, -1, "7", 7.0, None])
def test_token_counts_no_row_can_hold_are_estimated(ask: Ask, count: Any) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": count, "completion_tokens": 1}}
    run = ask(stream(text("ok"), finish(), usage))
    assert run.status == "completed", run.error
    assert 1 < run.input_tokens < 100_000


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 400])
def test_numbers_that_json_does_not_have_cost_no_answer(ask: Ask, number: str) -> None:
    odd = f'{{"choices": [{{"delta": {{"content": "ok", "reasoning_details": [{number}]}}}}]}}'
    run = ask(stream(f"data: {odd}\n\n".encode(), finish()))
    assert run.status == "completed", run.error
    assert ask(stream(text("again"), finish())).status == "completed"


def is_taken(message: dict[str, Any]) -> bool:
    names = [call["function"]["name"] for call in message.get("tool_calls") or []]
    named = all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in names)
    return named and bool(names or (message["content"] or "").strip())


def strict(answer: Answer) -> Answer:
    """Refuse a history that some servers refuse: names beyond their pattern, answers that say nothing."""

    def checked(exchange: Exchange) -> None:
        taken = all(map(is_taken, exchange.body["messages"]))
        (answer if taken else plain(400, {"error": {"message": "invalid messages"}}))(exchange)

    return checked


@pytest.mark.parametrize("name", ["multi_tool_use.parallel", "", "read file"])
def test_a_name_the_model_made_up_ends_no_conversation(ask: Ask, name: str) -> None:
    call = tool("{}", index=0, id="c1", name=name)
    run = ask(stream(delta(tool_calls=[call]), finish("tool_calls")), strict(stream(text("oh"), finish())))
    assert run.status == "completed", run.error
    assert run.tool_calls.get().error_code == "tool_unknown"
    assert ask(strict(stream(text("again"), finish()))).status == "completed"


def test_an_answer_that_said_nothing_ends_no_conversation(ask: Ask) -> None:
    assert ask(stream(finish("length"))).status == "completed"
    run = ask(strict(stream(text("here I am"), finish())))
    assert run.status == "completed", run.error


def window(bytes_: int, answer: Answer) -> Answer:
    """Refuse requests whose messages are longer."""

    def checked(exchange: Exchange) -> None:
        long = len(json.dumps(exchange.body["messages"])) > bytes_
        refusal = {"error": {"message": "too long", "code": "context_length_exceeded"}}
        (plain(400, refusal) if long else answer)(exchange)

    return checked


def fill(ask: Ask, **options: Any) -> None:
    """A conversation of 20 kB, with a tool call in it."""
    call = tool("{}", index=0, id="c1", name="list_files")
    said = stream(text("word " * 800), finish())
    ask(stream(delta(tool_calls=[call]), finish("tool_calls")), said, content="old", **options)
    for _ in range(4):
        ask(said, content="old", **options)


def test_a_window_smaller_than_what_is_known_of_it_ends_no_conversation(
    ask: Ask, server: FaultServer
) -> None:
    fill(ask)
    server.exchanges.clear()
    run = ask(*[window(12_000, stream(text("fits"), finish()))] * 9, content="new")
    assert run.status == "completed", run.error
    assert len(server.exchanges) <= 5
    assert server.exchanges[-1].body["messages"][-1]["content"] == "new"


def test_what_cannot_be_made_shorter_is_asked_once(ask: Ask, server: FaultServer) -> None:
    run = ask(*[window(10, stream(text("fits"), finish()))] * 3)
    assert run.error["code"] == "context_window_exceeded"
    assert len(server.exchanges) == 1


@pytest.mark.parametrize("protocol", ["native", "json"])
def test_a_summary_is_asked_for_as_the_server_understands_it(
    ask: Ask, server: FaultServer, protocol: str
) -> None:
    fill(ask)
    server.exchanges.clear()
    summary, answer = stream(text("all of it"), finish()), stream(text("fits"), finish())
    run = ask(window(9, answer), summary, answer, content="new", tool_protocol=protocol)
    assert run.status == "completed", run.error
    body = server.exchanges[1].body
    calls = any(message.get("tool_calls") for message in body["messages"])
    results = any(message["role"] == "tool" for message in body["messages"])
    assert (calls, results, bool(body.get("tools"))) == (protocol == "native",) * 3
    assert body.get("tool_choice") == ("none" if protocol == "native" else None)
    assert "response_format" not in body


@pytest.mark.parametrize("arguments", ["", '{"path": "a", "content": "abc'])
def test_a_call_that_was_cut_off_is_not_made_and_the_model_told_why(ask: Ask, arguments: str) -> None:
    whole = tool("{}", index=0, id="c1", name="list_files")
    cut = tool(arguments, index=1, id="c2", name="list_files")
    run = ask(stream(delta(tool_calls=[whole, cut]), finish("length")), stream(text("oh"), finish()))
    assert run.status == "completed", run.error
    first, second = run.tool_calls.order_by("index")
    assert (first.state, second.state) == ("succeeded", "failed")
    assert "cut off" in second.content

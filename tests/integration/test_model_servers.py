"""Runs whose route leads to a server that answers as compatible servers do, odd ones included."""

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

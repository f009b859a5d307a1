"""The `openai` driver in a running service, against a server that this project had no hand in."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.llmock_server import LLMockProcess
from tests.support.service import Deployment
from tests.support.service_api import Api, call

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]

KEY = "sk-not-a-real-key-4f6f1c2a9b"
STORY = "The checkout service is slow because of its last deployment. " * 12


@pytest.fixture(scope="module")
def llmock() -> Iterator[LLMockProcess]:
    with LLMockProcess("--tool-mode", "auto", "--stream-chunk-delay-ms", "10") as server:
        yield server


@pytest.fixture
def model(llmock: LLMockProcess) -> Iterator[LLMockProcess]:
    """The server with nothing queued; at the end it judges how it was treated."""
    llmock.reset()
    yield llmock
    verdict = llmock.verdict()
    assert verdict["errors"] == 0, verdict["findings"]


@pytest.fixture
def route(api: Api, model: LLMockProcess) -> str:
    """A route to the server, its key in a slot."""
    name = f"real-{api.session()}"
    api.client.request("POST", "/v1/runtime/secrets", {"slot_id": name, "provider": "openai", "value": KEY})
    body = {"route_id": name, "driver": "openai", "base_url": model.base_url, "model": "gpt-4o"}
    api.client.request("POST", "/v1/routes", {**body, "auth_ref": name})
    return name


def reply(text: str = "", *calls: dict[str, Any]) -> dict[str, Any]:
    return {"type": "reply", "text": text, "tool_calls": list(calls)}


def test_text_streams_and_tokens_are_counted(api: Api, model: LLMockProcess, route: str):
    model.script(reply(STORY))
    session = api.session()
    run_id = api.submit(session, "Why is it slow?", route_id=route)
    with api.stream(f"/v1/runs/{run_id}/stream", cursor="0") as events:
        seen = list(events)
    pieces = [event.data["text"] for event in seen if event.name == "message.delta"]
    assert len(pieces) > 3 and "".join(pieces).strip() == STORY.strip()
    view = api.until(run_id, "completed")
    assert view["outputs"][0]["content"].strip() == STORY.strip()
    assert view["usage"]["input_tokens"] > 0 and view["usage"]["output_tokens"] > 0
    assert seen[-1].data["status"] == "completed"


def test_parallel_calls_an_approval_in_between_and_the_answer(api: Api, model: LLMockProcess, route: str):
    session = api.session()
    model.script(
        reply("Look first.", call("list_files", base="."), call("todo_write", todos=[])),
        reply("Now change it.", call("bash", command="echo changed >> log.txt; cat log.txt")),
        reply("It is done."),
    )
    run_id = api.submit(session, "Change it.", route_id=route)
    api.allow(run_id, updated_input={"command": "echo edited >> log.txt; cat log.txt"})
    view = api.until(run_id, "completed")
    assert view["outputs"][-1]["content"] == "It is done."
    kinds = [entry["kind"] for entry in api.journal(session)]
    assert (kinds.count("tool.returned"), kinds.count("run.resumed")) == (3, 1)
    (body,) = [
        entry["payload"] for entry in api.events(run_id) if "edited\n" in str(entry["payload"].get("content"))
    ]
    assert body["tool_name"] == "bash"
    assert len(model.requests()) == 3


def test_a_busy_server_is_asked_again_when_it_says(api: Api, model: LLMockProcess, route: str):
    model.script({"type": "fail", "status": 429, "retry_after": 1}, reply("after a moment"))
    began = time.monotonic()
    run_id = api.submit(api.session(), route_id=route)
    assert api.until(run_id, "completed")["outputs"][0]["content"] == "after a moment"
    assert time.monotonic() - began >= 1
    assert len(model.requests()) == 2


def test_an_answer_that_breaks_off_is_asked_for_again_and_kept_once(
    api: Api, model: LLMockProcess, route: str
):
    model.script(
        {"type": "stream_fault", "kind": "disconnect", "after_chunks": 3}, reply(STORY), reply(STORY)
    )
    session = api.session()
    run_id = api.submit(session, route_id=route)
    assert api.until(run_id, "completed")["outputs"][0]["content"].strip() == STORY.strip()
    assert [entry["kind"] for entry in api.journal(session)].count("message.created") == 2
    assert len(model.requests()) == 2


def test_a_refused_key_fails_the_run_in_words(api: Api, model: LLMockProcess, route: str):
    model.script({"type": "fail", "status": 401, "message": f"Incorrect API key provided: {KEY}"})
    run_id = api.submit(api.session(), route_id=route)
    view = api.until(run_id, "failed")
    assert view["error"]["code"] == "auth"
    assert KEY not in str(view) + str(api.events(run_id))
    assert len(model.requests()) == 1


def test_a_killed_service_asks_again_and_ends_the_same_run(
    shared: Deployment, api: Api, model: LLMockProcess, route: str
):
    session = api.session()
    model.script(
        {"type": "stream_fault", "kind": "stall", "after_chunks": 40, "stall_seconds": 20}, reply(STORY)
    )
    run_id = api.submit(session, route_id=route)
    with api.stream(f"/v1/runs/{run_id}/stream", cursor="0") as events:
        assert any(event.name == "message.delta" for event in events)  # the answer has begun
    shared.kill()
    model.reset()
    model.script(reply("", call("list_files", base=".")), reply("asked again"))
    shared.start()
    view = api.until(run_id, "completed")
    assert (view["outputs"][0]["content"], view["recovered_count"]) == ("asked again", 1)
    entries = api.journal(session)
    assert [entry["kind"] for entry in entries].count("tool.returned") == 1

"""Streams that are cut: at every event, and across a restart of the service. No gap, no duplicate."""

import time
from pathlib import Path
from typing import Any

import pytest

from kheish_site.cli.sse import StreamEvent
from tests.support.service import Deployment
from tests.support.service_api import Api, call
from tests.support.service_process import until

pytestmark = pytest.mark.slow

EVENTS = 60


def long_run(api: Api, *, delay_ms: int) -> tuple[str, str]:
    """Start a run with `EVENTS` journal entries: 11 reads (4 each), 2 outputs (5 each), 6 about itself."""
    session = api.session()
    workspace = Path(api.client.sessions(session).get()["workspace"])
    workspace.mkdir(parents=True, exist_ok=True)
    turns = []
    for number in range(13):
        (workspace / f"{number}.txt").write_text("facts\n")
        read, emit = call("read_file", path=f"{number}.txt"), call("emit_output", content="so far so good")
        turns.append({"text": f"step {number}", "tool_calls": [emit if number in (3, 8) else read]})
    route = api.script(*turns, {"text": "that was all of it"}, delay_ms=delay_ms)
    return session, api.submit(session, route_id=route)


def numbered(events: list[StreamEvent]) -> list[tuple[str, str, Any]]:
    """The events that have an id: what may neither be lost nor come twice."""
    return [(event.id, event.name, event.data["hash"]) for event in events if event.id]


def expected(api: Api, run_id: str) -> list[tuple[str, str, Any]]:
    return [(str(entry["seq"]), entry["kind"], entry["hash"]) for entry in api.events(run_id)]


def follow_cut_after_each(api: Api, target: str, seen: list[StreamEvent], *, upto: int) -> None:
    """Read one numbered event a connection, and hang up; stop after `upto` or at the end of the run."""
    while len(numbered(seen)) < upto:
        last = next((event.id for event in reversed(seen) if event.id), "")
        with api.stream(target, last=last, cursor="" if last else "0") as events:
            before = len(seen)
            for event in events:
                seen.append(event)
                if event.id or event.name == "run.ended":
                    break
            if len(seen) == before or seen[-1].name == "run.ended":
                return


def test_a_live_stream_cut_at_every_event_and_by_a_restart(shared: Deployment, api: Api):
    session, run_id = long_run(api, delay_ms=60)
    target, seen = f"/v1/runs/{run_id}/stream", list[StreamEvent]()
    follow_cut_after_each(api, target, seen, upto=EVENTS // 2)
    shared.kill()
    shared.start()
    follow_cut_after_each(api, target, seen, upto=EVENTS * 2)
    api.until(run_id, "completed")
    assert numbered(seen) == expected(api, run_id)
    left = len(api.events(run_id)) - EVENTS
    recovered = api.kinds(run_id).count("run.recovered")
    assert left <= 2 * recovered  # a takeover, and at most one call that it had to start again
    own_cursor = seen[EVENTS // 3].id or seen[EVENTS // 3 + 1].id
    with api.stream(target, last=own_cursor) as events:
        rest = list(events)
    assert rest[-1].name == "run.ended" and rest[-1].data["status"] == "completed"
    api.journal(session)


def test_a_finished_run_resumed_from_each_of_its_events(api: Api):
    session, run_id = long_run(api, delay_ms=0)
    api.until(run_id, "completed")
    whole = expected(api, run_id)
    assert len(whole) == EVENTS
    for target in (f"/v1/runs/{run_id}/stream", f"/v1/sessions/{session}/stream"):
        _resumed_everywhere(api, target, whole)
    with api.stream(f"/v1/runs/{run_id}/stream", last=whole[-1][0]) as events:
        assert list(events) == []  # there is nothing left: 204


def _resumed_everywhere(api: Api, target: str, whole: list[tuple[str, str, Any]]) -> None:
    is_run = target.startswith("/v1/runs/")
    for place in range(len(whole)):
        last = whole[place - 1][0] if place else ""
        with api.stream(target, last=last, cursor="" if last else "0") as events:
            got: list[StreamEvent] = []
            while len(numbered(got)) < len(whole) - place or is_run:
                got.append(next(events))
                if got[-1].name == "run.ended":
                    break
        entries = [item for item in numbered(got) if item[1] != "session.created"]
        assert entries == whole[place:][: len(entries)] and (not is_run or len(entries) == len(whole) - place)
        assert not is_run or got[-1].name == "run.ended"


def test_the_stream_of_everything_resumes_at_each_event(api: Api):
    target, whole = "/v1/events/stream?kinds=run.accepted,run.completed", list[StreamEvent]()
    with api.stream(target) as events:
        runs = {api.start({"text": f"number {n}"})[1] for n in range(5)}
        while len([event for event in whole if event.data["run_id"] in runs]) < 2 * len(runs):
            whole.append(next(events))  # the first may be of a run that ended while an older commit was open
    assert len({event.id for event in whole}) == len(whole) <= 2 * len(runs) + 2
    for place in range(1, len(whole)):
        with api.stream(target, last=whole[place - 1].id) as again:
            assert [next(again).id for _ in whole[place:]] == [event.id for event in whole[place:]]


def test_text_is_shown_as_it_comes_and_superseded_by_the_message(api: Api):
    words = "one two three four five six seven eight nine ten " * 6
    _, run_id = api.start({"text": words.strip(), "chunk_delay_ms": 20})
    with api.stream(f"/v1/runs/{run_id}/stream", cursor="0") as events:
        seen = list(events)
    pieces = [event for event in seen if event.name == "message.delta"]
    assert len(pieces) > 3 and not any(piece.id for piece in pieces)
    assert "".join(piece.data["text"] for piece in pieces) == words.strip()
    spoken = [event for event in seen if event.name == "message.created"][-1]
    assert spoken.data["payload"]["content"] == words.strip()
    assert [event.name for event in seen][-2:] == ["run.completed", "run.ended"]
    assert seen.index(pieces[0]) < seen.index(spoken)


def test_the_project_client_follows_across_a_restart(shared: Deployment, api: Api):
    _, run_id = long_run(api, delay_ms=40)
    seen: list[StreamEvent] = []
    for event in api.client.runs(run_id).stream(deadline=time.monotonic() + 60):
        seen.append(event)
        if len(numbered(seen)) == EVENTS // 2 and event.id:
            shared.kill()
            shared.start()
    until(lambda: seen[-1].name == "run.ended", 1, lambda: seen[-1])
    assert numbered(seen) == expected(api, run_id)

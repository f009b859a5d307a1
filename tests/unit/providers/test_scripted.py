"""How a script is played: which turn, with what inside, at what pace, with which fault."""

import json
import threading
import time
from typing import Any

import pytest

from sessions_app.providers import registry
from sessions_app.providers.base import (
    Cancelled,
    Completion,
    Endpoint,
    Message,
    ProviderError,
    Request,
    TextDelta,
    collect,
)
from tests.unit.providers.conftest import make_request


def play(
    script: Any, request: Request, cancelled: threading.Event | None = None, **options: Any
) -> Completion:
    endpoint = Endpoint(driver="scripted", options={"script": script, "chunk_delay_ms": 0, **options})
    return collect(registry.build(endpoint).stream(request, cancelled=cancelled or threading.Event()))


def user(text: str) -> Message:
    return Message(role="user", content=text)


def run_through(script: Any, text: str, *results: tuple[str, bool]) -> list[Completion]:
    """Play a whole run: each result answers all calls of one turn."""
    messages, played = [user(text)], []
    for number, (content, is_error) in enumerate([*results, ("", False)], start=1):
        done = play(script, make_request(*messages, step=number))
        played.append(done)
        messages.append(done.message())
        messages += [
            Message(role="tool", content=content, tool_call_id=call.id, is_error=is_error)
            for call in done.tool_calls
        ]
    return played


def test_welcome_plans_reads_asks_and_answers() -> None:
    results = (("3 todos", False), ("empty", False), ("kheish was here", False))
    plan, look, ask, report = run_through("welcome", "hello there", *results)
    assert [call.name for call in plan.tool_calls] == ["todo_write"]
    assert [call.name for call in look.tool_calls] == ["list_files"]
    assert [call.name for call in ask.tool_calls] == ["bash"]
    assert report.finish_reason == "stop"
    assert "kheish was here" in report.text
    assert "hello there" in report.text


def test_welcome_says_when_it_was_denied() -> None:
    results = (("3 todos", False), ("empty", False), ("not on a Friday", True))
    report = run_through("welcome", "hello", *results)[-1]
    assert "did not run: not on a Friday" in report.text
    assert report.tool_calls == ()


def test_incident_checks_twice_at_once_and_asks_for_the_rollback() -> None:
    results = (("ok", False), ("p99 900 ms", False), ("checkout is back at 1.8", False))
    plan, checks, rollback, closing = run_through("incident", "INC-4821", *results)
    assert [call.name for call in plan.tool_calls] == ["todo_write"]
    assert [json.loads(call.arguments) for call in checks.tool_calls] == [
        {"path": "latency.txt"},
        {"path": "deploys.txt"},
    ]
    assert json.loads(rollback.tool_calls[0].arguments)["command"] == "./rollback.sh checkout"
    assert "checkout is back at 1.8" in closing.text


def test_echo() -> None:
    assert play("echo", make_request(user("say this"))).text == "say this"


SCRIPT = {
    "cases": [
        {"match": {"contains": "DEPLOY"}, "turns": [{"text": "deploying"}]},
        {"match": {"matches": r"^\d+$"}, "turns": [{"text": "a number"}], "repeat": True},
    ],
    "turns": [{"text": "first"}, {"text": "second"}],
}


@pytest.mark.parametrize(
    ("text", "said"),
    [("please deploy it", "deploying"), ("4821", "a number"), ("4821!", "first"), ("", "first")],
)
def test_the_input_chooses_the_case(text: str, said: str) -> None:
    assert play(SCRIPT, make_request(user(text))).text == said


def spoken(count: int) -> list[Message]:
    return [Message(role="assistant", content="x") for _ in range(count)]


@pytest.mark.parametrize(("answers", "said"), [(0, "first"), (1, "second"), (2, "Done."), (9, "Done.")])
def test_the_count_of_answers_chooses_the_turn(answers: int, said: str) -> None:
    assert play(SCRIPT, make_request(user("old"), *spoken(5), user("x"), *spoken(answers))).text == said


def test_a_repeating_case_never_ends() -> None:
    assert play(SCRIPT, make_request(user("1"), *spoken(40))).text == "a number"


def test_compaction_does_not_start_the_script_again() -> None:
    summary = Message(
        role="user", content="Summary of it all", extra={"compacted": {"input": "x", "assistant_messages": 1}}
    )
    assert play(SCRIPT, make_request(summary)).text == "second"
    assert play(SCRIPT, make_request(summary, *spoken(1))).text == "Done."
    assert play(SCRIPT, make_request(summary, user("deploy"))).text == "deploying"


def test_the_same_request_gets_the_same_answer_with_the_same_ids() -> None:
    script = {"turns": [{"tool_calls": [{"name": "a"}, {"name": "a"}]}]}
    request = make_request(user("x"))
    first, again = play(script, request), play(script, make_request(user("x"), attempt=2))
    assert first.tool_calls == again.tool_calls
    other = play(script, make_request(user("x"), run_id="run_2"))
    ids = {call.id for done in (first, other) for call in done.tool_calls}
    assert len(ids) == 4


def test_alternatives_look_at_the_last_result() -> None:
    either = [
        {"when": {"result_contains": "TIMEOUT"}, "text": "slow"},
        {"when": {"result_matches": r"p99 \d+", "result_is_error": False}, "text": "measured"},
        {"when": {"result_is_error": True}, "text": "failed"},
    ]
    script = {"turns": [{"tool_calls": [{"name": "a"}]}, {"either": either}]}
    said = [
        run_through(script, "x", result)[-1].text
        for result in [("a timeout", False), ("p99 12", False), ("p99 12", True), ("nothing", False)]
    ]
    assert said == ["slow", "measured", "failed", "Done."]


def test_placeholders_in_texts_and_arguments() -> None:
    call = {
        "name": "b",
        "arguments": {"note": ["{{ input }}", "{{result.a}}"], "keep": "{{ other }} ${HOME}"},
    }
    script = {"turns": [{"tool_calls": [{"name": "a"}]}, {"text": "{{last_result}}", "tool_calls": [call]}]}
    done = run_through(script, "the input", ("y" * 900, False))[-1]
    arguments = json.loads(done.tool_calls[0].arguments)
    assert arguments["note"][0] == "the input"
    assert arguments["keep"] == "{{ other }} ${HOME}"
    assert len(done.text) == len(arguments["note"][1]) == 400


def test_tool_choice_none_keeps_only_the_words() -> None:
    script = {"turns": [{"text": "a", "tool_calls": [{"name": "b"}]}]}
    done = play(script, make_request(generation={"tool_choice": "none"}))
    assert (done.text, done.tool_calls, done.finish_reason) == ("a", (), "stop")


def test_usage_reasoning_and_finish_reason_as_written() -> None:
    turn = {"text": "a", "reasoning": "b c", "usage": {"input": 5, "output": 6}, "finish_reason": "length"}
    done = play({"turns": [turn]}, make_request())
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.estimated) == (5, 6, False)
    assert (done.finish_reason, done.extra) == ("length", {"reasoning_content": "b c"})


@pytest.mark.parametrize(("times", "failing"), [(1, [1]), (2, [1, 2]), (None, [1, 2, 3, 4])])
def test_faults_count_by_the_attempt(times: int | None, failing: list[int]) -> None:
    script = {"turns": [{"text": "a", "fault": {"kind": "overloaded", "times": times}}]}
    failed = []
    for attempt in range(1, 5):
        try:
            play(script, make_request(attempt=attempt))
        except ProviderError as error:
            failed.append(attempt)
            assert error.kind == "overloaded"
    assert failed == failing


def test_a_fault_may_wait_for_some_words() -> None:
    script = {
        "turns": [{"text": "a b c d", "fault": {"kind": "transport", "after_chunks": 2, "message": "cut"}}]
    }
    provider = registry.build(Endpoint(driver="scripted", options={"script": script}))
    seen: list[Any] = []
    with pytest.raises(ProviderError, match="cut"):
        collect(provider.stream(make_request(), cancelled=threading.Event()), seen.append)
    assert seen == [TextDelta("a "), TextDelta("b ")]


def test_a_stall_ends_as_transport() -> None:
    script = {"turns": [{"text": "a", "fault": {"kind": "stall", "stall_seconds": 0.05}}]}
    with pytest.raises(ProviderError, match=r"no answer in 0\.05 seconds") as caught:
        play(script, make_request())
    assert caught.value.kind == "transport"


@pytest.mark.parametrize(
    "turn",
    [
        {"text": "a", "delay_ms": 5000},
        {"text": "a b c d e f", "chunk_delay_ms": 5000},
        {"text": "a", "fault": {"kind": "stall", "stall_seconds": 5}},
    ],
)
def test_cancelling_is_honoured_at_once_while_waiting(turn: dict[str, Any]) -> None:
    assert min(seconds_to_stop(turn) for _ in range(3)) < 0.05  # the best of three: the machine may be busy


def seconds_to_stop(turn: dict[str, Any]) -> float:
    cancelled, moments = threading.Event(), list[float]()

    def cancel() -> None:
        moments.append(time.monotonic())
        cancelled.set()

    threading.Timer(0.02, cancel).start()
    endpoint = Endpoint(driver="scripted", options={"script": {"turns": [turn]}})
    with pytest.raises(Cancelled):
        collect(registry.build(endpoint).stream(make_request(), cancelled=cancelled))
    return time.monotonic() - moments[0]

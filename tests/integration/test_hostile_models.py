"""Whatever a model or a provider says: the run ends, the journal verifies, no secret is left in a row."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kheish_site.lib.redaction import register_secret
from sessions_app.engine import context, loop
from sessions_app.models import Route, Run, Session, Step, ToolCall
from sessions_app.providers import registry
from sessions_app.providers.base import (
    Finished,
    Part,
    ProviderError,
    Request,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from sessions_app.services import approvals, runs, sessions
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.sessions_app.engine.conftest import ALICE, pending, submit
from tests.support.engine import check_session

pytestmark = pytest.mark.django_db(transaction=True)
CANARY = "canary-secret-90210"
Said = tuple[str, list[tuple[str, str, str]]] | ProviderError
Speak = Callable[..., None]


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Speak:
    """Let the model give these answers in turn: ``(text, [(id, tool, arguments as text)])`` or a failure."""
    register_secret("test", CANARY)

    def make(*answers: Said) -> None:
        left = list(answers)

        class Fake:
            def stream(self, request: Request, *, cancelled: Any) -> Iterator[Part]:
                said = left.pop(0)
                if isinstance(said, ProviderError):
                    raise said
                text, calls = said
                yield TextDelta(text=text)
                for index, (call_id, name, arguments) in enumerate(calls):
                    yield ToolCallDelta(index=index, id=call_id, name=name, arguments_delta=arguments)
                yield Usage(input_tokens=1, output_tokens=1, estimated=False)
                yield Finished(reason="tool_calls" if calls else "stop", request_id="r", extra={})

        monkeypatch.setattr(registry, "build", lambda endpoint: Fake())
        Route.objects.update_or_create(
            route_id="fake", defaults={"driver": "scripted", "model": "m", "is_default": True, "options": {}}
        )

    return make


def finish(session: Session, heartbeat: Heartbeat) -> Run:
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    return approved(run, heartbeat)


def approved(run: Run, heartbeat: Heartbeat) -> Run:
    for approval in pending(run):
        approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    loop.drive(run.session_id, heartbeat)
    check_session(run.session_id)
    return runs.get(run.run_id)


def test_unspeakable_text_is_stored_readable(speak: Speak, session: Session, heartbeat: Heartbeat) -> None:
    speak(("a\x00b\ud800c", []))
    run = finish(session, heartbeat)
    assert run.status == "completed", run.error
    assert run.outputs[0]["content"] == "a\ufffdb?c"


def test_a_call_keeps_the_id_its_provider_gave_it_unless_that_cannot_be_kept(
    speak: Speak, session: Session, heartbeat: Heartbeat
) -> None:
    given = ("theirs", "theirs", "x" * 2_000, CANARY, "")
    speak(("", [(one, "none", "{}") for one in given]), ("done", []))
    finish(session, heartbeat)
    kept, *ours = ToolCall.objects.order_by("index").values_list("provider_call_id", "call_id")
    assert kept[0] == "theirs" and len(ours) == 4
    assert all(theirs == own for theirs, own in ours)


def test_no_row_keeps_a_secret_the_model_repeats(
    speak: Speak, session: Session, heartbeat: Heartbeat
) -> None:
    speak((f"the key is {CANARY}", []))
    assert CANARY not in json.dumps(finish(session, heartbeat).outputs)


def test_no_row_keeps_a_secret_a_provider_repeats(
    speak: Speak, session: Session, heartbeat: Heartbeat
) -> None:
    speak(ProviderError("auth", f"incorrect key {CANARY}\x00"))
    run = finish(session, heartbeat)
    assert run.status == "failed"
    assert CANARY not in json.dumps([run.error, Step.objects.get(run=run).error])


def test_no_row_keeps_a_secret_a_person_repeats(speak: Speak, session: Session, heartbeat: Heartbeat) -> None:
    run = submit_with_secret(speak, session)
    runs.cancel(run.run_id, principal="alice", reason=f"leaked {CANARY}")
    session = sessions.end(session.session_id, reason=CANARY, principal="alice")
    kept = Run.objects.filter(pk=run.pk).values().get()
    assert CANARY not in str(kept) + session.end_reason


def submit_with_secret(speak: Speak, session: Session) -> Run:
    speak(("done", []))
    return submit(session, CANARY, actor_id=CANARY, metadata={CANARY: CANARY}, source_kind="api")


@pytest.mark.parametrize(
    "call_id",
    ["x" * 5000, "nul\x00", "half\ud800", "", CANARY],
    ids=["long", "nul", "surrogate", "none", "secret"],
)
def test_call_ids_of_any_kind_pair_calls_with_results(
    speak: Speak, session: Session, heartbeat: Heartbeat, call_id: str
) -> None:
    speak(("", [(call_id, "list_files", "{}")]), ("done", []))
    run = finish(session, heartbeat)
    assert run.status == "completed", run.error
    spoken, result = context.fold(session.pk).messages()[1:3]
    assert spoken.tool_calls[0].id == result.tool_call_id
    assert not result.is_error


def test_ids_used_again_keep_each_result_with_its_call(
    speak: Speak, session: Session, heartbeat: Heartbeat
) -> None:
    for name in ("a", "b", "c"):
        (sessions.workspace(session) / name).write_text(f"text of {name}")
    reads = [("call_0", "read_file", json.dumps({"path": name})) for name in ("a", "b", "c")]
    speak(("", reads[:2]), ("", reads[2:]), ("done", []))
    assert finish(session, heartbeat).status == "completed"
    messages = context.fold(session.pk).messages()
    shown = [message.content for message in messages if message.role == "tool"]
    assert ["text of a" in shown[0], "text of b" in shown[1], "text of c" in shown[2]] == [True] * 3
    ids = [[call.id for call in message.tool_calls] for message in messages if message.tool_calls]
    assert all(len(set(group)) == len(group) for group in ids)


@pytest.mark.parametrize(
    "arguments",
    [
        '{"path": ' + "[" * 400 + "]" * 400 + "}",
        '{"path": ' + "[" * 3_000 + "]" * 3_000 + "}",
        '{"path": 1e400}',
        '{"path": NaN}',
        '{"path": ' + "9" * 5000 + "}",
        '{"path": "a", "path": "b"}',
        '{"\\ud800": 1, "\\u0000": 2}',
        "[]",
        "{",
    ],
    ids=["deep", "deeper", "inf", "nan", "digits", "twice", "keys", "list", "cut"],
)
def test_arguments_of_any_kind_come_back_as_errors(
    speak: Speak, session: Session, heartbeat: Heartbeat, arguments: str
) -> None:
    speak(("", [("c1", "read_file", arguments)]), ("done", []))
    run = finish(session, heartbeat)
    assert run.status == "completed", run.error
    assert ToolCall.objects.get(run=run).state == "failed"


@pytest.mark.parametrize(
    "number", ["1e16", "1e22", "1e300", "123456789012345678901234567890", "0.1", "1e-7", "5e-324", "1.0"]
)
def test_numbers_of_any_size_keep_the_digest_of_an_approved_call(
    speak: Speak, session: Session, heartbeat: Heartbeat, number: str
) -> None:
    """What the database gives back must have the digest of what went in."""
    from sessions_app.tools import registry as tools

    rule = {"tool_name_pattern": "todo_write", "behavior": "ask"}
    sessions.set_permission_rules(session.session_id, [rule], principal="alice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tools, "validate", lambda tool, arguments: [])
        patch.setattr(type(tools.get("todo_write")), "run", lambda self, arguments, given: _ok())
        speak(("", [("c1", "todo_write", f'{{"todos": [], "n": {number}}}')]), ("done", []))
        run = finish(session, heartbeat)
    assert run.status == "completed", run.error
    assert ToolCall.objects.get(run=run).error_code == ""


def _ok() -> Any:
    from sessions_app.tools.base import ToolResult

    return ToolResult(content="ok", data={"n": 1e22})


def test_a_tool_that_breaks_fails_its_call_and_not_the_run(
    speak: Speak, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sessions_app.tools import registry as tools

    def broken(self: Any, arguments: Any, given: Any) -> Any:
        raise KeyError("a bug")

    monkeypatch.setattr(type(tools.get("list_files")), "run", broken)
    speak(("", [("c1", "list_files", "{}"), ("c2", "glob_search", '{"pattern": "*"}')]), ("done", []))
    run = finish(session, heartbeat)
    assert run.status == "completed", run.error
    assert [call.state for call in run.tool_calls.order_by("index")] == ["failed", "succeeded"]

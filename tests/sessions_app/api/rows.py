"""Rows and callers for the API's tests: made through the services, without an engine."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from rest_framework.test import APIClient

from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from kheish_site.lib.transactions import write
from sessions_app.models import (
    Approval,
    OperatorDecision,
    Persona,
    PersonaRevision,
    Route,
    Run,
    RunStatus,
    Session,
    ShellTask,
    Step,
    TaskOutput,
    ToolCall,
    ToolCallState,
    UserQuestion,
)
from sessions_app.services import (
    approvals,
    decisions,
    effects,
    external_actions,
    questions,
    run_state,
    runs,
    sessions,
)
from sessions_app.services.external_actions import Action
from sessions_app.services.principal import Principal
from sessions_app.tools import policy
from tests.factories import make_client

ALICE = Principal(
    name="alice",
    role="operator",
    auth_method="token",
    remote_addr="127.0.0.1",
    rights=frozenset({"decide_high_risk"}),
)
ASKED = {
    "questions": [
        {
            "id": "where",
            "header": "Target",
            "question": "Which cluster?",
            "options": [{"id": "s", "label": "staging"}, {"id": "p", "label": "production"}],
        }
    ]
}


def caller(role: str = "operator", name: str = "") -> APIClient:
    """A client with a fresh token of this role; most verbs need no more than an operator."""
    return make_client(role, name)


def stranger() -> APIClient:
    """A client that is not signed in."""
    return APIClient()


def make_route(route_id: str = "scripted", *, default: bool = True) -> Route:
    """A route whose script says one word."""
    options = {"script": {"turns": [{"text": "done"}]}}
    route, _ = Route.objects.get_or_create(
        route_id=route_id,
        defaults={"driver": "scripted", "model": "script", "is_default": default, "options": options},
    )
    return route


def make_persona(persona_id: str = "reviewer") -> PersonaRevision:
    """A persona with one revision."""
    persona = Persona.objects.create(persona_id=persona_id, owner="team")
    return PersonaRevision.objects.create(
        persona=persona, revision=1, display_name="Reviewer", soul="You review. The soul stays inside."
    )


def make_session(session_id: str = "desk", **more: Any) -> Session:
    """A session that alice made."""
    make_route()
    return sessions.create(sessions.NewSession(session_id=session_id, **more), principal="alice")[0]


def make_run(session: Session, text: str = "go", **more: Any) -> Run:
    """A queued run."""
    return runs.submit(session.session_id, runs.NewRun(content=text, **more), principal="alice")


def move(run: Run, *path: RunStatus, **fields: Any) -> Run:
    """Take the run along these edges; ``fields`` are set with the last one."""
    for status in path:
        last = fields if status == path[-1] else {}
        run_state.transition(run, status, session_id=run.session.session_id, fields=last)
    return run


def make_call(run: Run, tool: str = "bash", index: int = 0, *, step: int = 1, **arguments: Any) -> ToolCall:
    """A planned call of a running run."""
    now = clock.now()
    row, _ = Step.objects.get_or_create(run=run, number=step, defaults={"started_at": now})
    arguments = arguments or {"command": "make deploy"}
    call_id = new_id("call")
    return ToolCall.objects.create(
        call_id=call_id,
        run=run,
        step=row,
        index=index,
        tool_name=tool,
        effect="opaque",
        arguments=arguments,
        digest=effects.call_digest(tool, arguments),
        idempotency_key=effects.idempotency_key(run.run_id, step, call_id, arguments),
        permission=policy.decide(tool_name=tool, mode="default").as_dict(),
        created_at=now,
    )


def ask_approvals(session: Session, number: int = 1, **permission: Any) -> tuple[Run, list[Approval]]:
    """A run that waits for ``number`` approvals."""
    run = move(make_run(session), RunStatus.RUNNING)
    with write():
        found, entries = [], []
        for index in range(number):
            call = make_call(run, index=index, command=f"make deploy-{index}")
            call.permission |= permission
            call.save()
            approval, entry = approvals.request(run, call)
            found.append(approval)
            entries.append(entry)
        _wait(run, RunStatus.WAITING_FOR_APPROVAL, entries)
    return run, found


def ask_question(session: Session, **arguments: Any) -> tuple[Run, UserQuestion]:
    """A run that waits for an answer."""
    run = move(make_run(session), RunStatus.RUNNING)
    with write():
        call = make_call(run, "ask_user_question", **(ASKED | arguments))
        question, entry = questions.ask(run, call)
        _wait(run, RunStatus.WAITING_FOR_USER_QUESTION, [entry])
    return run, question


def ask_decision(session: Session, partial_output: str = "uploading") -> tuple[Run, OperatorDecision]:
    """A run that waits for an operator's word on an unknown effect."""
    run = move(make_run(session), RunStatus.RUNNING)
    with write():
        call = make_call(run)
        effects.advance(call, ToolCallState.STARTED)
        effects.advance(call, ToolCallState.UNKNOWN)
        decision, entry = decisions.request(run, call, partial_output=partial_output)
        _wait(run, RunStatus.WAITING_FOR_OPERATOR, [entry])
    return run, decision


def make_task(run: Run, output: str = "", *, finished_at: datetime | None = None, **more: Any) -> ShellTask:
    """A shell task with one piece of output."""
    size = len(output.encode())
    index = ToolCall.objects.filter(run=run).count()
    task = ShellTask.objects.create(
        task_id=new_id("task"),
        session=run.session,
        run=run,
        tool_call=make_call(run, index=index),
        command=more.pop("command", "make test"),
        worker="worker-1",
        output_total_bytes=size,
        output_size_bytes=size,
        started_at=clock.now(),
        finished_at=finished_at,
        **more,
    )
    if output:
        TaskOutput.objects.create(task=task, offset=0, text=output, size_bytes=size)
    return task


def _wait(run: Run, status: RunStatus, entries: list[Any]) -> None:
    run_state.transition(run, status, session_id=run.session.session_id, before=tuple(entries))


def record_action(run: Run) -> None:
    """Leave the two signed records of a command of ``run``."""
    started = Action(phase="started", kind="tool", target="bash", grant="permission:default")
    with write():
        external_actions.record(started, replace(started, phase="finished", outcome="succeeded"), run=run)

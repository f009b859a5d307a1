"""The lives that are recorded. Each leaves one session, named after it, with a whole journal."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from sessions_app.engine import loop
from sessions_app.models import Run, Session
from sessions_app.services import approvals, decisions, questions, runs
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.sessions_app.engine.conftest import ALICE, BOB, call, pending, submit
from tests.support.engine import Died, dying_at, expire_lease

Script = Callable[..., Any]
Scenario = Callable[[Script, Session], None]
ASKED = {"question": "Which region?", "options": [{"label": "North"}, {"label": "South"}]}


def drive(session: Session, worker: str = "worker-1") -> None:
    loop.drive(session.pk, Heartbeat(worker))


def two_answers(script: Script, session: Session) -> None:
    """Two trivial runs, one after the other."""
    script({"text": "You said {{ input }}.", "usage": {"input": 9, "output": 4}})
    submit(session, "good morning")
    submit(session, "good night")
    drive(session)


def edited_approval(script: Script, session: Session) -> None:
    """A batch of a read, a command approved as edited, and a question."""
    script(
        {
            "text": "I look first.",
            "tool_calls": [
                call("list_files", base="."),
                call("bash", command="echo hello"),
                call("ask_user_question", questions=[ASKED]),
            ],
        },
        {"text": "Done: {{ last_result }}"},
    )
    run = submit(session, "roll back the deployment")
    drive(session)
    (approval,) = pending(run)
    edited = Vote(behavior="allow", updated_input={"command": "echo goodbye"}, justification="gentler")
    approvals.resolve(approval.approval_id, edited, principal=ALICE)
    answer = [{"question_id": "question-1", "selected_option_ids": ["option-2"], "freeform_answer": ""}]
    questions.resolve(run.questions.get().question_id, questions.Resolution(answers=answer), principal=BOB)
    drive(session)


def judged_effect(script: Script, session: Session) -> None:
    """A worker dies inside a command; an operator says that it happened; the next run is cancelled."""
    run = _died_in_a_command(script, session)
    decision = run.decisions.get()
    judged = decisions.Judgement(outcome="happened", note="seen in the log", result="deployed")
    decisions.resolve(decision.decision_id, judged, principal=BOB)
    following = submit(session, "and again")
    runs.cancel(following.run_id, principal="alice", reason="not needed")
    drive(session, "worker-3")


def given_up(script: Script, session: Session) -> None:
    """The same death; the operator gives up, and a later run goes on with a call that has no result."""
    run = _died_in_a_command(script, session)
    decision = run.decisions.get()
    decisions.resolve(decision.decision_id, decisions.Judgement(outcome="give_up"), principal=ALICE)
    script({"text": "Starting over."})
    submit(session, "start over")
    drive(session, "worker-3")


def compacted(script: Script, session: Session) -> None:
    """A conversation longer than its window."""
    script({"text": "noted " + "word " * 400}, context_window=8_300)
    for number in range(12):
        submit(session, f"input {number}")
    drive(session)


def _died_in_a_command(script: Script, session: Session) -> Run:
    script({"tool_calls": [call("bash", command="echo deploy")]}, {"text": "Finished."})
    run = submit(session, "deploy")
    drive(session)
    (approval,) = pending(run)
    approvals.resolve(approval.approval_id, Vote(behavior="allow"), principal=ALICE)
    with dying_at(lambda here: here == "tool.started"), pytest.raises(Died):
        drive(session)
    expire_lease(session.pk)
    drive(session, "worker-2")
    return run


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "two-answers": two_answers,
    "edited-approval": edited_approval,
    "judged-effect": judged_effect,
    "given-up": given_up,
    "compacted": compacted,
}

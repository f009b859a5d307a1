"""Everything at once, at random, for a bounded time: workers that die, people who decide, clients that stop.

Each seed is a script of steps; after every step the rows must agree with each other and with the journal.
At the end nothing crashes any more, everybody decides, and every run must end.
"""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from django.db import connection

from sessions_app.engine import loop
from sessions_app.models import Approval, OperatorDecision, Run, Session, UserQuestion
from sessions_app.services import approvals, decisions, questions, recovery, runs, sessions
from sessions_app.services.approvals import Vote
from sessions_app.services.heartbeat import Heartbeat
from tests.factories import make_session
from tests.sessions_app.engine.conftest import ALICE, BOB, call, submit
from tests.support.engine import CRASHPOINT_MODULES, Died, check_ended, check_session, expire_lease

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
Script = Callable[..., Any]
SESSIONS, STEPS, DEATH, FREEZE = 3, 40, 0.1, 0.05
REFUSALS = (
    approvals.ApprovalConflict,
    questions.QuestionConflict,
    decisions.DecisionConflict,
    runs.RunStateConflict,
)
ASKED = {"question": "Which?", "options": [{"label": "Yes"}, {"label": "No"}]}
TURNS = (
    {"text": "look", "tool_calls": [call("list_files", base="."), call("list_files", base=".", limit=3)]},
    {
        "tool_calls": [
            call("bash", command="echo {{ input }} >> once.txt"),
            call("ask_user_question", questions=[ASKED]),
            call("write_file", path="notes.txt", content="{{ input }}"),
        ]
    },
    {
        "tool_calls": [
            call("bash", command="echo {{ input }} >> once.txt; true"),
            call("list_files", base="."),
        ]
    },
    {"text": "done {{ input }}"},
)


class World:
    """Some sessions, some workers, and one source of chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.sessions = [make_session(f"s{number}") for number in range(SESSIONS)]
        self.submitted: list[Run] = []
        self.mortal = True
        self.workers = 0

    def crashpoint(self, here: str) -> None:
        """Die here, or be frozen for longer than a lease and go on."""
        fate = self.chance.random() if self.mortal else 1.0
        if fate < DEATH:
            raise Died(here)
        if fate < DEATH + FREEZE and not connection.in_atomic_block:
            expire_lease(self.chance.choice(self.sessions).pk)

    def worker(self) -> Heartbeat:
        self.workers += 1
        return Heartbeat(f"worker-{self.workers}")

    def drive(self, session: Session, worker: Heartbeat) -> None:
        with suppress(Died):
            loop.drive(session.pk, worker)

    def step(self) -> None:
        session = self.chance.choice(self.sessions)
        moves = [
            self.submit,
            self.take,
            self.take,
            self.decide,
            self.decide,
            self.stop,
            self.lapse,
            self.race,
        ]
        with suppress(*REFUSALS):  # somebody was first
            self.chance.choice(moves)(session)

    def submit(self, session: Session) -> None:
        if len(self.submitted) < 12:
            self.submitted.append(submit(session, f"n{len(self.submitted)}"))

    def take(self, session: Session) -> None:
        self.drive(session, self.worker())

    def race(self, session: Session) -> None:
        """Two workers at every session at once."""

        def work(target: Session) -> None:
            try:
                self.drive(target, self.worker())
            finally:
                connection.close()

        with ThreadPoolExecutor(SESSIONS * 2) as pool:
            list(pool.map(work, self.sessions * 2))

    def decide(self, session: Session) -> None:
        decide_something(session, self.chance)

    def stop(self, session: Session) -> None:
        live = [run for run in session.runs.all() if run.finished_at is None]
        if live and self.chance.random() < 0.3:
            runs.cancel(self.chance.choice(live).run_id, principal="alice")
        elif self.chance.random() < 0.2:
            runs.interrupt(session.session_id, principal="bob")

    def lapse(self, session: Session) -> None:
        expire_lease(session.pk)
        recovery.expire_due()

    def check(self) -> None:
        for session in self.sessions:
            check_session(session.pk)

    def settle(self) -> None:
        """No more deaths: lapse, decide and drive until every run has ended."""
        self.mortal = False
        for _ in range(200):
            if not any(run.finished_at is None for run in Run.objects.all()):
                return
            for session in self.sessions:
                expire_lease(session.pk)
                if session.pk in recovery.due_sessions():
                    self.drive(session, self.worker())
                decide_something(session, self.chance)
            self.check()
        pytest.fail(f"runs that never end: {[(run.run_id, run.status) for run in Run.objects.all()]}")


def decide_something(session: Session, chance: random.Random) -> None:
    """Let somebody decide the oldest thing the session waits for."""
    approval = Approval.objects.filter(session=session, status="pending").order_by("id").first()
    if approval is not None:
        vote = Vote(behavior="allow" if chance.random() < 0.8 else "deny")
        approvals.resolve(approval.approval_id, vote, principal=chance.choice([ALICE, BOB]))
        return
    question = UserQuestion.objects.filter(session=session, status="pending").order_by("id").first()
    if question is not None:
        answers = [{"question_id": "question-1", "selected_option_ids": ["option-2"], "freeform_answer": ""}]
        questions.resolve(question.question_id, questions.Resolution(answers=answers), principal=ALICE)
        return
    decision = OperatorDecision.objects.filter(session=session, status="pending").order_by("id").first()
    if decision is not None:
        outcome = chance.choice(["happened", "not_happened", "tell_agent", "give_up"])
        judged = decisions.Judgement(outcome=outcome)
        decisions.resolve(decision.decision_id, judged, principal=BOB)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_lost_doubled_or_stuck(script: Script, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    script(*TURNS)
    world = World(seed)
    for session in world.sessions * 2:
        world.submit(session)
    for module in CRASHPOINT_MODULES:
        monkeypatch.setattr(f"sessions_app.engine.{module}.crashpoint", world.crashpoint)
    for _ in range(STEPS):
        world.step()
        world.check()
    world.settle()
    world.check()
    assert recovery.due_sessions() == []
    for run in Run.objects.all():
        check_ended(run)
    for session in world.sessions:
        session.refresh_from_db()
        assert (session.lease_owner, session.queued_runs, session.blocked) == ("", 0, False)
        check_effects(session)


def check_effects(session: Session) -> None:
    """No command ran more often than its calls were started: the file counts what really happened."""
    log = sessions.workspace(session) / "once.txt"
    lines = log.read_text().splitlines() if log.exists() else []
    for run in session.runs.all():
        said = run.input_message["content"]
        started = sum(call.attempt for call in run.tool_calls.filter(tool_name="bash"))
        assert lines.count(said) <= started, (said, lines)

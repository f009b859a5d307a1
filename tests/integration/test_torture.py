"""Everything at once, at random, on threads; and what must make a torture red.

The seed is a script of steps; after every step the rows must agree with each other and with the journal.
At the end nothing crashes any more, everybody decides, and every run must end. One seed: ``.ci/run`` tortures
processes for minutes and simulates thousands of worlds. The rest are guards of that torture.
"""

import os
import random
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
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
from tests.torture import faults, harness, stage, starved
from tests.torture.faults import AT_RANDOM, Torturer
from tests.torture.record import Record, read
from tests.torture.schedule import Life

pytestmark = pytest.mark.slow
Script = Callable[..., Any]
SESSIONS, STEPS, DEATH, FREEZE = 2, 14, 0.1, 0.05
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


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_doubled_or_stuck(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    script(*TURNS)
    world = World(0)
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


@pytest.fixture
def torturer(tmp_path: Path) -> Torturer:
    """One without a service."""
    return Torturer(None, 1, Record(tmp_path / "faults.jsonl"), tmp_path)  # type: ignore[arg-type]


def test_a_process_that_passed_its_point_and_did_not_die_of_it_is_noticed(
    torturer: Torturer, tmp_path: Path
) -> None:
    life, marker = Life(role="worker", ending="point", point="claimed", seconds=1.0), tmp_path / "died"
    marker.write_text("claimed")
    with pytest.raises(stage.NotDead, match="passed claimed and ended with 0"):
        torturer._ended_by_itself(life, 4711, 0, marker)
    assert torturer.total == 0
    torturer._ended_by_itself(life, 4711, -signal.SIGKILL, marker)
    assert torturer.kills == {"claimed": 1}


def test_a_death_is_dated_by_who_died_not_by_who_noticed(torturer: Torturer, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    marker.write_text("claimed")
    os.utime(marker, (1000, 1000))
    life = Life(role="worker", ending="point", point="claimed", seconds=1.0)
    torturer._ended_by_itself(life, 4711, -signal.SIGKILL, marker)
    (line,) = read(tmp_path / "faults.jsonl")
    assert line["since"] == 1000 < line["at"]


def test_a_process_that_lives_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    living = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
    monkeypatch.setattr(stage, "_END_SECONDS", 0.2)
    with monkeypatch.context() as patch, pytest.raises(stage.NotDead, match="was killed and lives"):
        patch.setattr("os.kill", lambda pid, number: None)
        stage.kill(living)
    stage.end(living)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_of_the_torturer_that_fails_is_trouble(torturer: Torturer) -> None:
    def fail() -> None:
        raise stage.NotDead("process 4711 was killed and lives")

    torturer._begin("worker-0", fail)
    torturer.stop()
    assert torturer.troubles == ["worker-0: NotDead('process 4711 was killed and lives')"]


def test_a_place_that_nobody_came_to_in_time_is_waited_for_longer(torturer: Torturer) -> None:
    life = Life(role="web", ending="point", point="request.done", skip=80, seconds=10.0)
    assert torturer._patience(life) == 1
    torturer._missed["request.done"] += 2
    assert torturer._patience(life) == 2
    torturer._missed["request.done"] += 98
    assert torturer._patience(life) == faults._MOST_PATIENT
    assert torturer._patience(Life(role="web", ending="kill", seconds=10.0)) == 1
    assert AT_RANDOM not in torturer.kills


class Looks:
    """What is left, look after look."""

    def __init__(self, *found: list[str]) -> None:
        self.found = list(found)

    def __call__(self) -> list[str]:
        return self.found.pop(0) if len(self.found) > 1 else self.found[0]


def healed(looks: Looks) -> harness.Healing:
    healing = harness.Healing(None)  # type: ignore[arg-type]
    healing._until_nothing_is_left(looks)
    return healing


def test_what_stands_still_is_noticed_and_what_goes_on_slowly_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "STILL_SECONDS", 1.0)
    stuck = healed(Looks(["run_1 queued"]))
    assert stuck.still_seconds > 1.0 and stuck.unsettled == ["run_1 queued"]
    slow = healed(Looks(["run_1 queued"], ["run_1 running"], ["run_2 queued"], ["run_2 running"], []))
    assert slow.still_seconds < 1.0 and slow.unsettled == []


def test_what_goes_round_in_circles_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "CALM_SECONDS", 1.0)
    circling = healed(Looks(*[[f"run_1 running at {number}"] for number in range(50)]))
    assert circling.still_seconds < 1.0 and circling.unsettled


def test_a_worker_that_the_machine_did_not_let_run_is_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert starved.waits(os.getpid()) and not starved.waits(2**22 + 1)
    watch = starved.Watch(Record(tmp_path / "faults.jsonl"), lambda: (), 3.0)
    watch.end()
    watch._pids = lambda: (7, 8)
    waited = {7: 0, 8: 0}
    monkeypatch.setattr(starved, "waits", lambda pid: {"heartbeat": waited[pid]})
    for _ in range(8):
        watch.look()
        waited[7], waited[8] = waited[7] + 10**8, waited[8] + 4 * 10**8
    assert watch.found == {8}
    lines = read(tmp_path / "faults.jsonl")
    assert {(line["what"], line["pid"], line["role"]) for line in lines} == {("starved", 8, "worker")}

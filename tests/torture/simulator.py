"""The engine in one thread under a virtual clock, with doorbells in memory: a world for each seed.

The same code drives, decides, sweeps and journals as in service; only time, chance and who acts next are the
simulator's. At every crash point a worker may die, or be frozen for longer than its lease while others act,
or be overtaken by people. Tools act on a target outside the database, which counts what really happened.
"""

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
ASKED: Final = {"question": "Which?", "options": [{"label": "Yes"}, {"label": "No"}]}
DEEPEST: Final = 2
SESSIONS: Final = 2
STEPS: Final = 20
MOST_RUNS: Final = 5
DEADLY: Final = 0.36
"""How likely a worker dies around an effect, where most can go wrong; a third of it elsewhere."""


class Clock:
    """Time that goes only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._real = sqlite3.connect(":memory:", check_same_thread=False)

    def now(self) -> datetime:
        """The one time there is."""
        return BEGINNING + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """The same, as the engine measures spans."""
        return self.seconds

    def strftime(self, *arguments: Any) -> Any:
        """SQLite's function of that name, for which now is our time."""
        given = [self.now().strftime("%Y-%m-%d %H:%M:%S.%f") if a in ("NOW", "now") else a for a in arguments]
        marks = ", ".join("?" * len(given))
        return self._real.execute(f"SELECT strftime({marks})", given).fetchone()[0]


class Target:
    """What tools act on: it counts every effect under its key."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.keys: dict[str, set[str]] = {}

    def act(self, call_id: str, key: str) -> None:
        """Something happens, for good."""
        self.effects[call_id] += 1
        self.keys.setdefault(call_id, set()).add(key)


class Bells:
    """Doorbells in memory. They may be taken in any order, twice, or never."""

    def __init__(self) -> None:
        self.rung: list[int] = []

    def ring_readers(self, session_pk: int, seq: int) -> None:
        """Nobody reads streams here."""

    def ring_workers(self, session_pk: int) -> None:
        """Remember it until somebody takes it."""
        self.rung.append(session_pk)

    def delta(self, delta: Any) -> None:
        """Nobody watches."""


CLOCK: Final = Clock()
TARGET: Target = Target()
BELLS: Final = Bells()


def _tools() -> None:
    """One tool of each effect class, whose target is ours."""
    from sessions_app.tools import registry
    from sessions_app.tools.base import ToolResult, ToolSpec, object_schema

    class Acting:
        def __init__(self, effect: Any) -> None:
            schema = object_schema(("what",), what={"type": "string"})
            self.spec = ToolSpec(name=f"sim_{effect}", description="acts", schema=schema, effect=effect)

        def run(self, arguments: Any, context: Any) -> ToolResult:
            TARGET.act(context.call_id, context.idempotency_key)
            return ToolResult(content="did it")

    class Probing(Acting):
        def prepare(self, arguments: Any, context: Any) -> dict[str, Any]:
            return {"before": TARGET.effects[context.call_id]}

        def probe(self, arguments: Any, prepared: Any, context: Any) -> ToolResult | None:
            happened = TARGET.effects[context.call_id] > prepared["before"]
            return ToolResult(content="it is there") if happened else None

    for effect in ("read", "idempotent", "opaque"):
        registry.register(Acting(effect))
    registry.register(Probing("probeable"))


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


SCRIPTS: Final[dict[str, list[dict[str, Any]]]] = {
    "plain": [{"text": "done"}],
    "safe": [
        {"tool_calls": [_call("sim_read", what="a"), _call("sim_idempotent", what="b")]}, {"text": "done"},
    ],
    "probe": [{"tool_calls": [_call("sim_probeable", what="a")]}, {"text": "done"}],
    "opaque": [{"tool_calls": [_call("sim_opaque", what="a")]}, {"text": "done"}],
    "batch": [
        {"tool_calls": [
            _call("sim_read", what="a"), _call("sim_opaque", what="b"),
            _call("ask_user_question", questions=[ASKED]), _call("sim_probeable", what="c"),
        ]},
        {"tool_calls": [_call("sim_opaque", what="d"), _call("sim_idempotent", what="e")]},
        {"text": "done"},
    ],
}  # fmt: skip


class World:
    """Some sessions, any number of workers, people, and one source of chance."""

    def __init__(self, seed: int) -> None:
        from sessions_app.services import sessions

        self.chance = random.Random(seed)
        self.mortal, self.depth, self.workers, self.deaths = True, 0, 0, 0
        self.runs: list[str] = []
        asks = [{"tool_name_pattern": "sim_opaque", "behavior": "ask"}]
        asks.append({"tool_name_pattern": "sim_probeable", "behavior": self.chance.choice(("ask", "allow"))})
        self.sessions = []
        for number in range(SESSIONS):
            new = sessions.NewSession(
                session_id=f"s{number}", permission_rules=asks,
                unknown_effects=self.chance.choice(("ask", "ask", "tell")),
            )  # fmt: skip
            self.sessions.append(sessions.create(new, principal="alice")[0])

    def crashpoint(self, here: str) -> None:
        """What happens to a worker at a named place."""
        from django.db import connection

        from tests.support.engine import Died

        deadly = DEADLY if here.startswith("tool.") else DEADLY / 3
        fate = self.chance.random() - deadly if self.mortal else 1.0
        if fate < 0:
            self.deaths += 1
            raise Died(here)
        if self.depth >= DEEPEST or connection.in_atomic_block:
            return
        if fate < 0.08:  # frozen for longer than its lease, while others act
            CLOCK.seconds += 40.0
            self.others_act()
        elif fate < 0.18:
            self.others_act()

    def others_act(self) -> None:
        """A few things happen in the middle of what a worker does."""
        self.depth += 1
        try:
            for _ in range(self.chance.randint(1, 3)):
                self.step()
        finally:
            self.depth -= 1

    def step(self) -> None:
        """One actor does one thing."""
        moves = (self.submit, self.bell, self.sweep, self.decide, self.stop, self.wait)
        with suppress(*_refusals()):
            self.chance.choices(moves, (3, 5, 2, 6, 1, 2))[0]()

    def submit(self) -> None:
        """Somebody gives a session work."""
        from sessions_app.services import runs

        if len(self.runs) < MOST_RUNS:
            session = self.chance.choice(self.sessions)
            route_id = self.chance.choices(list(SCRIPTS), (1, 1, 2, 3, 3))[0]
            new = runs.NewRun(content=f"n{len(self.runs)}", route_id=route_id)
            self.runs.append(runs.submit(session.session_id, new, principal="alice").run_id)

    def bell(self) -> None:
        """A worker takes a doorbell: any of them, perhaps twice, perhaps it is lost."""
        if BELLS.rung:
            fate = self.chance.random()
            place = self.chance.randrange(len(BELLS.rung))
            session_pk = BELLS.rung[place] if fate < 0.2 else BELLS.rung.pop(place)
            if fate < 0.9:
                self.drive(session_pk)

    def sweep(self) -> None:
        """A worker looks for work."""
        from sessions_app.services import recovery

        recovery.expire_due()
        for session_pk in recovery.due_sessions():
            self.drive(session_pk)

    def drive(self, session_pk: int) -> None:
        """A new worker drives a session until it leaves it, or dies."""
        from sessions_app.engine import loop
        from sessions_app.services.heartbeat import Heartbeat
        from tests.support.engine import Died

        self.workers += 1
        heartbeat = Heartbeat(f"worker-{self.workers}")
        if self.mortal and self.chance.random() < 0.05:
            heartbeat.draining.set()
        with suppress(Died):
            loop.drive(session_pk, heartbeat)

    def decide(self) -> None:
        """Somebody decides something that waits."""
        waiting = self._waiting()
        if waiting:
            self._decide(self.chance.choice(waiting))

    def _waiting(self) -> list[Any]:
        from sessions_app.models import Approval, OperatorDecision, UserQuestion

        kinds = (Approval, UserQuestion, OperatorDecision)
        return [row for kind in kinds for row in kind.objects.filter(status="pending").order_by("id")]

    def _decide(self, item: Any) -> None:
        """Whoever judges an effect looks at its target first, and says what is there or gives up."""
        from sessions_app.models import Approval, UserQuestion
        from sessions_app.services import approvals, decisions, questions
        from sessions_app.services.principal import SYSTEM

        if isinstance(item, Approval):
            vote = approvals.Vote(behavior="allow" if self.chance.random() < 0.85 else "deny")
            approvals.resolve(item.approval_id, vote, principal=SYSTEM)
        elif isinstance(item, UserQuestion):
            answers = [{"question_id": "question-1", "selected_option_ids": ["option-1"]}]
            questions.resolve(item.question_id, questions.Resolution(answers=answers), principal=SYSTEM)
        else:
            truth = "happened" if TARGET.effects[item.tool_call.call_id] else "not_happened"
            outcome = self.chance.choices((truth, "tell_agent", "give_up"), (6, 2, 1))[0]
            decisions.resolve(item.decision_id, decisions.Judgement(outcome=outcome), principal=SYSTEM)

    def stop(self) -> None:
        """Somebody stops a run."""
        from sessions_app.services import runs

        if self.runs and self.chance.random() < 0.5:
            runs.cancel(self.chance.choice(self.runs), principal="bob")
        else:
            runs.interrupt(self.chance.choice(self.sessions).session_id, principal="bob")

    def wait(self) -> None:
        """Time goes by."""
        CLOCK.seconds += self.chance.choice((0.1, 2.0, 20.0))

    def settle(self) -> None:
        """Nobody dies any more, everybody decides, all ends. Bells ring for nobody: the sweep suffices."""
        from sessions_app.models import Run

        self.mortal = False
        for _ in range(60):
            if not Run.objects.filter(finished_at=None).exists():
                return
            CLOCK.seconds += 20.0
            self.sweep()
            for item in self._waiting():
                with suppress(*_refusals()):  # giving a run up closes what else it waits for
                    self._decide(item)
        left = Run.objects.filter(finished_at=None).values_list("run_id", "status")
        raise AssertionError(f"runs that never end: {list(left)}")

    def check(self) -> None:
        """Everything that must hold, by rows, journal and target."""
        from sessions_app.models import Run, ToolCall
        from sessions_app.services import recovery
        from tests.support.engine import check_ended, check_session

        for session in self.sessions:
            check_session(session.pk)
        for run in Run.objects.all():
            check_ended(run)
        for call in ToolCall.objects.select_related("run"):
            _check_call(call)
        assert {run.run_id for run in Run.objects.all()} == set(self.runs)
        assert recovery.due_sessions() == []


def _refusals() -> tuple[type[Exception], ...]:
    """What somebody is told who comes too late."""
    from sessions_app.services.approvals import ApprovalConflict, ApprovalExpired
    from sessions_app.services.decisions import DecisionConflict
    from sessions_app.services.questions import QuestionConflict
    from sessions_app.services.runs import RunStateConflict

    return ApprovalConflict, ApprovalExpired, DecisionConflict, QuestionConflict, RunStateConflict


def _check_call(call: Any) -> None:
    from sessions_app.models import JournalEntry

    if not call.tool_name.startswith("sim_"):
        return
    kinds = list(
        JournalEntry.objects.filter(run_id=call.run_id, payload__call_id=call.call_id)
        .order_by("seq").values_list("kind", "payload")
    )  # fmt: skip
    starts = sum(kind == "tool.started" for kind, _ in kinds)
    told = sum(kind == "decision.made" and payload["outcome"] == "not_happened" for kind, payload in kinds)
    happened = TARGET.effects[call.call_id]
    assert happened <= starts, (call.call_id, call.tool_name, happened, kinds)
    if call.state == "succeeded":
        assert happened >= 1, (call.call_id, call.tool_name, kinds)
    if call.permission.get("decision") == "ask" and "approved_digest" not in call.permission:
        assert happened == 0, (call.call_id, "never approved", kinds)
    if call.tool_name == "sim_opaque":
        assert starts <= 1 + told, (call.call_id, starts, told, kinds)
    if call.tool_name == "sim_idempotent":
        assert len(TARGET.keys.get(call.call_id, ())) <= 1, call.call_id


def simulate(seed: int) -> int:
    """Play one world from its beginning to its end; returns how many workers died. Raises AssertionError."""
    BELLS.rung.clear()
    TARGET.effects.clear()
    TARGET.keys.clear()
    CLOCK.seconds = 0.0
    world = World(seed)
    with _crashpoints(world.crashpoint):
        world.submit()
        for _ in range(STEPS):
            world.step()
        world.settle()
    world.check()
    return world.deaths


@contextmanager
def _crashpoints(act: Callable[[str], None]) -> Iterator[None]:
    from tests.support.engine import CRASHPOINT_MODULES

    modules = [import_module(f"sessions_app.engine.{name}") for name in CRASHPOINT_MODULES]
    before = [module.crashpoint for module in modules]
    for module in modules:
        module.crashpoint = act  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, real in zip(modules, before, strict=True):
            module.crashpoint = real  # type: ignore[attr-defined]


def prepare() -> sqlite3.Connection:
    """Load the service on a database in memory, under our clock; returns what each world begins with."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")
    import logging

    import django
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = ":memory:"
    django.setup()
    logging.disable(logging.CRITICAL)
    from django.core.management import call_command
    from django.db import connection

    from kheish_site.lib import clock
    from sessions_app.engine import execute
    from sessions_app.services import routes, wake
    from sessions_app.services.doorbell import bells
    from sessions_app.services.routes import RouteFields

    call_command("migrate", interactive=False, verbosity=0)
    clock.now = CLOCK.now
    bells.bell = wake.bell = lambda: BELLS
    execute.time = CLOCK  # type: ignore[assignment]
    connection.ensure_connection()
    connection.connection.create_function("strftime", -1, CLOCK.strftime)
    bug = os.environ.get("KHEISH_TORTURE_BUG")
    if bug:
        import_module("tests.torture.bugs").install(bug)
    _tools()
    for name, turns in SCRIPTS.items():
        fields = RouteFields(driver="scripted", model="script", options={"script": {"turns": turns}})
        routes.create(name, fields, default=name == "plain")
    template = sqlite3.connect(":memory:")
    connection.connection.backup(template)
    return template


def play(seeds: Sequence[int]) -> dict[str, Any]:
    """Play many worlds; returns how many, how many deaths, and which seeds failed with what."""
    template = prepare()
    from django.db import connection

    failed: list[tuple[int, str]] = []
    deaths = 0
    for seed in seeds:
        template.backup(connection.connection)
        try:
            deaths += simulate(seed)
        except Exception as error:
            failed.append((seed, f"{type(error).__name__}: {error}"[:600]))
            if connection.in_atomic_block:
                raise
    return {"played": len(seeds), "deaths": deaths, "failed": failed}


def run(first: int, count: int, *, bug: str = "") -> int:
    """Play ``count`` worlds from seed ``first`` on all processors; 0 when everything held in each."""
    began, processes = time.monotonic(), os.cpu_count() or 1
    children = []
    with tempfile.TemporaryDirectory(prefix="kheish-simulator-") as folder:
        for number in range(min(processes, count)):
            told = {"KHEISH_STATE_DIR": f"{folder}/{number}", "KHEISH_LEASE_SECONDS": "15"}
            told |= {"KHEISH_TORTURE_BUG": bug}
            ours = ("KHEISH_", "DJANGO_", "PYTEST_")
            kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
            Path(told["KHEISH_STATE_DIR"]).mkdir(mode=0o700)
            command = [sys.executable, "-m", "tests.torture.simulator"]
            command += [str(first + number), str(first + count), str(processes)]
            children.append(
                subprocess.Popen(command, cwd=ROOT, env=kept | told, stdout=subprocess.PIPE, text=True)
            )
        answers = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        print("the simulator itself failed", file=sys.stderr)
        return 1
    results = [json.loads(answer.splitlines()[-1]) for answer in answers]
    failed = sorted(pair for result in results for pair in result["failed"])
    for seed, words in failed:
        print(f"seed {seed}: {words}")
    played, deaths = (sum(result[name] for result in results) for name in ("played", "deaths"))
    seconds = time.monotonic() - began
    told = f"{deaths} deaths of workers, {len(failed)} failed, {seconds:.0f} s"
    print(f"{played} worlds from seed {first}, {told}")
    return 1 if failed or played != count else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Play every STEPth world from FIRST to before END, in this process."""
    parser = argparse.ArgumentParser()
    for name in ("first", "end", "step"):
        parser.add_argument(name, type=int)
    options = parser.parse_args(arguments)
    print(json.dumps(play(range(options.first, options.end, options.step))))
    return 0


if __name__ == "__main__":
    sys.exit(main())

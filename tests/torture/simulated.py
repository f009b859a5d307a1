"""One small world of the simulator: sessions, workers who die, people who decide, and a clock of its own.

The same code drives, decides, sweeps and journals as in service; only time, chance and who acts next are the
simulator's. At every crash point a worker may die, or be frozen for longer than its lease while others act,
or be overtaken by people. Tools act on a target outside the database, which keeps what really happened.

A world is small, and its seed deals how it is mixed: two or three sessions, two or three runs, one of which
asks a person for certain; how often and where workers die, how people decide, how often time goes by.
"""

import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import import_module
from typing import Any, Final

from django.db import connection

from sessions_app.engine import loop
from sessions_app.models import OperatorDecision
from sessions_app.services import approvals, decisions, questions, recovery, runs, sessions
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.principal import SYSTEM
from sessions_app.tools import registry
from sessions_app.tools.base import ToolResult, ToolSpec, object_schema
from tests.support.engine import CRASHPOINT_MODULES, Died

BEGINNING: Final = datetime(2026, 1, 1, tzinfo=UTC)
ASKED: Final = {"question": "Which?", "options": [{"label": "Yes"}, {"label": "No"}]}
DEATHS: Final = (
    ("claimed",), ("model.before",), ("model.after",), ("planned",), ("tool.started", "effect.judged"),
    ("tool.returned", "effect.judged"), ("tool.settled",), ("suspending",), ("suspended",),
    ("tool.started",), ("tool.returned",),
)  # fmt: skip
"""Where workers die for certain: one of these is dealt to each world, and whoever comes there first dies."""
DEEPEST: Final = 2
REFUSALS: Final = (
    approvals.ApprovalConflict, approvals.ApprovalExpired, decisions.DecisionConflict,
    questions.QuestionConflict, runs.RunStateConflict,
)  # fmt: skip
"""What somebody is told who comes too late."""
_WAITING: Final = """
SELECT 'approval', approval_id FROM sessions_app_approval WHERE status = 'pending' UNION ALL
SELECT 'question', question_id FROM sessions_app_userquestion WHERE status = 'pending' UNION ALL
SELECT 'decision', decision_id FROM sessions_app_operatordecision WHERE status = 'pending'"""
_LIVE: Final = "SELECT run_id, status FROM sessions_app_run WHERE finished_at IS NULL"


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
    """What tools act on: it keeps what every call did, and under which keys."""

    def __init__(self) -> None:
        self.effects: dict[str, list[str]] = defaultdict(list)
        self.keys: dict[str, set[str]] = defaultdict(set)

    def act(self, call_id: str, key: str, what: str) -> None:
        """Something happens, for good."""
        self.effects[call_id].append(what)
        self.keys[call_id].add(key)

    def count(self, call_id: str) -> int:
        """How often a call had an effect."""
        return len(self.effects.get(call_id, ()))

    def clear(self) -> None:
        """Begin another world."""
        self.effects.clear()
        self.keys.clear()


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
TARGET: Final = Target()
BELLS: Final = Bells()


class _Acting:
    """A tool of one effect class, whose target is ours."""

    def __init__(self, effect: Any) -> None:
        schema = object_schema(("what",), what={"type": "string"})
        self.spec = ToolSpec(name=f"sim_{effect}", description="acts", schema=schema, effect=effect)

    def run(self, arguments: Any, context: Any) -> ToolResult:
        TARGET.act(context.call_id, context.idempotency_key, arguments["what"])
        return ToolResult(content="did it")


class _Probing(_Acting):
    def prepare(self, arguments: Any, context: Any) -> dict[str, Any]:
        return {"before": TARGET.count(context.call_id)}

    def probe(self, arguments: Any, prepared: Any, context: Any) -> ToolResult | None:
        happened = TARGET.count(context.call_id) > prepared["before"]
        return ToolResult(content="it is there") if happened else None


def register_tools() -> None:
    """Let there be one tool of each effect class."""
    for effect in ("read", "idempotent", "opaque"):
        registry.register(_Acting(effect))
    registry.register(_Probing("probeable"))


def _call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "arguments": arguments}


_QUESTION: Final = _call("ask_user_question", questions=[ASKED])
SCRIPTS: Final[dict[str, list[dict[str, Any]]]] = {
    "plain": [{"text": "done"}],
    "safe": [
        {"tool_calls": [_call("sim_read", what="a"), _call("sim_idempotent", what="b")]}, {"text": "done"},
    ],
    "probe": [{"tool_calls": [_call("sim_probeable", what="a")]}, {"text": "done"}],
    "opaque": [{"tool_calls": [_call("sim_opaque", what="a")]}, {"text": "done"}],
    "asking": [{"tool_calls": [_QUESTION, _call("sim_opaque", what="a")]}, {"text": "done"}],
    "twice": [
        {"tool_calls": [_call("sim_opaque", what="a")]},
        {"tool_calls": [_call("sim_opaque", what="b"), _call("sim_idempotent", what="c")]}, {"text": "done"},
    ],
    "batch": [
        {"tool_calls": [
            _call("sim_read", what="a"), _call("sim_opaque", what="b"), _QUESTION,
            _call("sim_probeable", what="c"),
        ]},
        {"text": "done"},
    ],
}  # fmt: skip
_FIRST: Final = ("opaque", "opaque", "asking", "asking", "twice", "batch")
"""What the first run of a world does: it asks a person."""
_WEIGHTS: Final = (3, 3, 3, 3, 1, 1, 1)
_ROUNDS, _MORTAL_ROUNDS = 40, 4


class World:
    """Some sessions, any number of workers, people, and one source of chance."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.doomed = list(DEATHS[seed % len(DEATHS)])
        self.deadly = self.chance.choice((0.03, 0.1, 0.35))
        """How likely a worker dies around an effect, where most can go wrong; a third of it elsewhere."""
        self.mortal, self.expires, self.depth, self.workers = True, False, 0, 0
        self.seen: Counter[str] = Counter()
        self.decided: list[dict[str, Any]] = []
        self.runs: list[str] = []
        self.most_runs = self.chance.choice((2, 2, 2, 2, 3))
        self.sessions = [self._session(number) for number in range(self.chance.choice((2, 2, 2, 2, 2, 3)))]

    def _session(self, number: int) -> Any:
        ask: dict[str, Any] = {"tool_name_pattern": "sim_opaque", "behavior": "ask"}
        if self.chance.random() < 0.15:
            ask["expires_after_seconds"], self.expires = 30, True
        probe = {"tool_name_pattern": "sim_probeable", "behavior": self.chance.choice(("ask", "allow"))}
        new = sessions.NewSession(
            session_id=f"s{number}", permission_rules=[ask, probe],
            unknown_effects=self.chance.choice(("ask", "ask", "tell")),
        )  # fmt: skip
        return sessions.create(new, principal="alice")[0]

    def play(self) -> None:
        """From the first input until all has ended."""
        with _crashpoints(self.crashpoint):
            self.submit(self.sessions[0], self.chance.choice(_FIRST))
            self.submit(
                self.sessions[self.chance.random() < 0.7], self.chance.choices(list(SCRIPTS), _WEIGHTS)[0]
            )
            for _ in range(self.chance.randint(4, 8)):
                self.step()
            self.settle()

    def crashpoint(self, here: str) -> None:
        """What happens to a worker at a named place."""
        deadly = self.deadly if here.startswith("tool.") else self.deadly / 3
        fate = self.chance.random() - deadly if self.mortal else 1.0
        dealt = self.mortal and here in self.doomed[:1]
        if dealt or fate < 0:
            del self.doomed[:dealt]
            self.seen[f"died at {here}"] += 1
            raise Died(here)
        if self.depth >= DEEPEST or connection.in_atomic_block:
            return
        if fate < 0.05:  # frozen for longer than its lease, while others act
            self.seen["frozen past a lease"] += 1
            CLOCK.seconds += 40.0
            self.others_act()
        elif fate < 0.12:
            self.others_act()

    def others_act(self) -> None:
        """A few things happen in the middle of what a worker does."""
        self.seen["overtaken in the middle"] += 1
        self.depth += 1
        try:
            for _ in range(self.chance.randint(1, 3)):
                self.step()
        finally:
            self.depth -= 1

    def step(self) -> None:
        """One actor does one thing."""
        moves = (self.submit, self.bell, self.sweep, self.decide, self.decide_again, self.stop, self.wait)
        with suppress(*REFUSALS):
            self.chance.choices(moves, (2, 5, 2, 6, 1, 1, 2))[0]()

    def submit(self, session: Any = None, route_id: str = "") -> None:
        """Somebody gives a session work."""
        if len(self.runs) < self.most_runs:
            session = session or self.chance.choice(self.sessions)
            route_id = route_id or self.chance.choices(list(SCRIPTS), _WEIGHTS)[0]
            new = runs.NewRun(content=f"n{len(self.runs)}", route_id=route_id)
            self.runs.append(runs.submit(session.session_id, new, principal="alice").run_id)

    def bell(self) -> None:
        """A worker takes a doorbell: any of them, perhaps twice, perhaps it is lost."""
        if BELLS.rung:
            fate = self.chance.random()
            place = self.chance.randrange(len(BELLS.rung))
            self.seen["bells doubled"] += fate < 0.2
            self.seen["bells lost"] += fate >= 0.9
            session_pk = BELLS.rung[place] if fate < 0.2 else BELLS.rung.pop(place)
            if fate < 0.9:
                self.drive(session_pk)

    def sweep(self) -> None:
        """A worker looks for work."""
        if self.expires:
            recovery.expire_due()
        for session_pk in recovery.due_sessions():
            self.drive(session_pk)

    def drive(self, session_pk: int) -> None:
        """A new worker drives a session until it leaves it, or dies."""
        self.workers += 1
        heartbeat = Heartbeat(f"sim:{self.workers}:0")
        if self.mortal and self.chance.random() < 0.05:
            self.seen["drained"] += 1
            heartbeat.draining.set()
        with suppress(Died):
            loop.drive(session_pk, heartbeat)

    def decide(self) -> None:
        """Somebody decides something that waits."""
        waiting = _rows(_WAITING)
        if waiting:
            self._decide(*self.chance.choice(waiting))

    def decide_again(self) -> None:
        """Somebody decides, perhaps otherwise, what was decided before."""
        if self.decided:
            self.seen["decided a second time"] += 1
            again = self.chance.choice(self.decided)
            self._decide(again["kind"], again["item"])

    def _decide(self, kind: str, item: str) -> None:
        """Settle one, and write down what its decider was told."""
        choice, settle = getattr(self, f"_words_on_{kind}")(item)
        told = {"what": "decided", "kind": kind, "item": item, "choice": choice, "status": 409, "said": ""}
        self.decided.append(told)
        settle()
        told["status"] = 200

    def _words_on_approval(self, item: str) -> tuple[dict[str, Any], Callable[[], Any]]:
        allows = self.chance.random() < 0.85
        edited = {"what": "edited"} if allows and self.chance.random() < 0.3 else None
        vote = approvals.Vote(behavior="allow" if allows else "deny", updated_input=edited)
        return {"behavior": vote.behavior}, lambda: approvals.resolve(item, vote, principal=SYSTEM)

    def _words_on_question(self, item: str) -> tuple[dict[str, Any], Callable[[], Any]]:
        answers = [{"question_id": "question-1", "selected_option_ids": ["option-1"]}]
        words = questions.Resolution(answers=answers)
        return {}, lambda: questions.resolve(item, words, principal=SYSTEM)

    def _words_on_decision(self, item: str) -> tuple[dict[str, Any], Callable[[], Any]]:
        """Whoever judges an effect looks at its target first, and says what is there or gives up."""
        found = OperatorDecision.objects.select_related("tool_call").get(decision_id=item)
        truth = "happened" if TARGET.count(found.tool_call.call_id) else "not_happened"
        outcome = self.chance.choices((truth, "tell_agent", "give_up"), (6, 2, 1))[0]
        judgement = decisions.Judgement(outcome=outcome)  # type: ignore[arg-type]
        return {"outcome": outcome}, lambda: decisions.resolve(item, judgement, principal=SYSTEM)

    def stop(self) -> None:
        """Somebody stops a run."""
        if self.chance.random() < 0.5:
            runs.cancel(self.chance.choice(self.runs), principal="bob")
        else:
            runs.interrupt(self.chance.choice(self.sessions).session_id, principal="bob")

    def wait(self) -> None:
        """Time goes by."""
        CLOCK.seconds += self.chance.choice((0.1, 2.0, 20.0))

    def settle(self) -> None:
        """Everybody decides, nobody dies in the end, all ends. Bells ring for nobody: the sweep suffices."""
        for turn in range(_ROUNDS):
            self.mortal = turn < _MORTAL_ROUNDS and bool(self.doomed)
            if not _rows(_LIVE):
                return
            CLOCK.seconds += 20.0
            self.sweep()
            for kind, item in _rows(_WAITING):
                with suppress(*REFUSALS):  # giving a run up closes what else it waits for
                    self._decide(kind, item)
        raise AssertionError(f"runs that never end: {_rows(_LIVE)}")


def _rows(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return list(cursor.execute(query).fetchall())


@cache
def _modules() -> list[Any]:
    return [import_module(f"sessions_app.engine.{name}") for name in CRASHPOINT_MODULES]


@contextmanager
def _crashpoints(act: Callable[[str], None]) -> Iterator[None]:
    before = [module.crashpoint for module in _modules()]
    for module in _modules():
        module.crashpoint = act
    try:
        yield
    finally:
        for module, real in zip(_modules(), before, strict=True):
            module.crashpoint = real

"""SIGKILL of a worker at every named place of a run's life, for tools of every effect class.

Each crash is real: the worker that passes the place kills itself. Whoever takes over must finish the same
run, losing no effect that may be repeated and repeating none that may not.

Each place and each effect is here in one profile, and each kind of them in both: ``manage.py torture`` kills
at all of them in both, and ``tests/sessions_app/engine`` crosses places with effects without processes.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Say, installed
from tests.support.service import SERVICES, Deployment
from tests.support.service_api import Api, call, moment
from tests.support.service_process import until

pytestmark = pytest.mark.slow

RESUMED_SECONDS = 3.0
LEASE_SECONDS = 240
"""So long that whoever resumes a run in half of it has not waited for the lease of the dead."""
ANSWER = {"text": "answered: {{ last_result }}"}
APPEND = "echo happened >> effects.txt; cat effects.txt"


@dataclass(frozen=True)
class Effect:
    """A tool call of one effect class."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    asks: bool = False

    def turn(self) -> dict[str, Any]:
        return {"text": "working", "tool_calls": [call(self.name, **self.arguments)]}


TODOS = [{"id": "one", "content": "write it down", "completed": False}]
READ = Effect("read_file", {"path": "facts.txt"})
EMIT = Effect("emit_output", {"content": "said once"})
TODO_LIST = Effect("todo_write", {"todos": TODOS})
WRITE = Effect("write_file", {"path": "new.txt", "content": "written\n"}, asks=True)
BASH = Effect("bash", {"command": APPEND}, asks=True)


class Crash:
    """A deployment whose workers die at one place, each time `arm` was called."""

    def __init__(self, deployment: Deployment, marker: Path) -> None:
        self.deployment = deployment
        self._marker = marker
        self._armed: dict[str, str] = {}

    @property
    def api(self) -> Api:
        return Api(self.deployment.url, self.deployment.token)

    def move_to(self, point: str) -> None:
        """Start again with the place of death at `point`, not armed: the marker says that somebody died."""
        self._marker.touch()
        self._armed = {"KHEISH_CRASHPOINT": point, "KHEISH_CRASHPOINT_ONCE": str(self._marker)}
        self.deployment.renew(**self._armed)

    def arm(self) -> None:
        """Let the next worker that passes the place die there."""
        self.deployment.revive(**self._armed)
        self._marker.unlink()

    def died_at(self) -> float:
        """When the worker died, as seconds since the epoch; waits for it."""
        until(self._marker.exists, 20, lambda: f"nobody died at {self._armed}")
        return self._marker.stat().st_mtime


@pytest.fixture(scope="module")
def crash(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    folder = tmp_path_factory.mktemp("crash")
    with installed(
        prepared, folder, KHEISH_SWEEP_SECONDS="0.5", KHEISH_LEASE_SECONDS=str(LEASE_SECONDS)
    ) as deployment:
        yield Crash(deployment, folder / "died")


def begin(crash: Crash, effect: Effect) -> tuple[str, str, Path]:
    """Start a run with one call of `effect`; returns session, run and workspace."""
    api = crash.api
    session = api.session(f"{effect.name.replace('_', '-')}-{uuid.uuid4().hex[:8]}")
    workspace = Path(api.client.sessions(session).get()["workspace"])
    workspace.mkdir(parents=True, exist_ok=True)
    (workspace / "facts.txt").write_text("the facts\n")
    return session, api.submit(session, route_id=api.script(effect.turn(), ANSWER)), workspace


def finish(crash: Crash, run_id: str, *, outcome: str = "") -> dict[str, Any]:
    """Bring the run to its end: allow what asks, and decide `outcome` when nobody knows what happened."""
    api = crash.api
    view = api.until(run_id, "completed", "waiting_for_approval", "waiting_for_operator")
    if view["status"] == "waiting_for_approval":
        api.allow(run_id)
        view = api.until(run_id, "completed", "waiting_for_operator")
    if view["status"] == "waiting_for_operator":
        assert outcome, f"nobody should have to decide: {api.kinds(run_id)}"
        decision = api.pending("decisions", run_id)
        assert decision["tool_name"] == "bash" and decision["input"] == BASH.arguments
        api.resolve("decisions", decision["decision_id"], outcome=outcome, note="looked at the file")
        view = api.until(run_id, "completed")
    return view


def proved(crash: Crash, session: str, run_id: str) -> list[dict[str, Any]]:
    """The whole journal, after checking that the run was accepted, answered and ended once."""
    entries = crash.api.journal(session)
    kinds = [entry["kind"] for entry in entries if entry["run_id"] == run_id]
    for kind in ("run.accepted", "run.started", "run.completed"):
        assert kinds.count(kind) == 1 or kind == "run.started", kinds
    assert kinds.count("tool.planned") == 1 and kinds.count("message.created") == 3, kinds
    settled = [kind for kind in kinds if kind in ("tool.returned", "tool.denied", "tool.reconciled")]
    assert len(settled) == 1, kinds
    return entries


def lines(workspace: Path) -> int:
    file = workspace / "effects.txt"
    return len(file.read_text().splitlines()) if file.exists() else 0


def checked(effect: Effect, view: dict[str, Any], workspace: Path, crash: Crash) -> None:
    """The effect happened, once, and the model read its result."""
    answer = view["outputs"][-1]["content"]
    if effect is READ:
        assert "the facts" in answer
    elif effect is WRITE:
        assert (workspace / "new.txt").read_text() == "written\n"
    elif effect is BASH:
        assert lines(workspace) == 1
    elif effect is EMIT:
        assert [output["content"] for output in view["outputs"]].count("said once") == 1
    elif effect is TODO_LIST:
        assert crash.api.client.sessions(view["session_id"]).get()["todos"] == TODOS


def resumed_after(entries: list[dict[str, Any]], died: float) -> float:
    """Seconds from the worker's death to the first thing the next worker did in the run."""
    recovered = next(entry for entry in entries if entry["kind"] == "run.recovered")
    return moment(recovered) - died


@pytest.mark.parametrize("point", ["claimed", "tool.settled"] if SERVICES else ["model.after", "planned"])
def test_between_effects_nothing_is_lost_or_repeated(crash: Crash, point: str, say: Say):
    crash.move_to(point)
    crash.arm()
    effect = BASH if point == "planned" else READ  # what nobody is asked about starts with its plan
    session, run_id, workspace = begin(crash, effect)
    died = crash.died_at()
    view = finish(crash, run_id)
    checked(effect, view, workspace, crash)
    seconds = resumed_after(proved(crash, session, run_id), died)
    assert view["recovered_count"] == 1
    say(f"worker killed at {point}: resumed after {seconds:.2f} s (promised: {RESUMED_SECONDS:g} s)")
    assert seconds < LEASE_SECONDS / 2


@pytest.mark.parametrize(("point", "recovered"), [("suspended", 0) if SERVICES else ("suspending", 1)])
def test_a_question_is_put_once_though_the_worker_dies_asking_it(crash: Crash, point: str, recovered: int):
    crash.move_to(point)
    crash.arm()
    session, run_id, workspace = begin(crash, BASH)
    crash.died_at()
    assert crash.api.until(run_id, "waiting_for_approval")["recovered_count"] == recovered
    checked(BASH, finish(crash, run_id), workspace, crash)
    kinds = [entry["kind"] for entry in proved(crash, session, run_id)]
    assert (kinds.count("approval.requested"), kinds.count("tool.started")) == (1, 1)


STARTS: dict[str, Callable[[Effect], int]] = {
    "tool.started": lambda effect: 1 if effect is BASH else 2,
    # The target of a probeable effect says that it happened, so it is not started again.
    "tool.returned": lambda effect: 1 if effect in (BASH, WRITE) else 2,
}
"""How often a call is started, by where the first worker died in it."""


@pytest.mark.parametrize(
    ("point", "first", "second"),
    [("tool.started", READ, WRITE), ("tool.returned", EMIT, BASH)]
    if SERVICES
    else [("tool.started", TODO_LIST, BASH), ("tool.returned", READ, WRITE)],
)
def test_a_started_effect_is_repeated_only_where_that_is_harmless(
    crash: Crash, point: str, first: Effect, second: Effect
):
    crash.move_to(point)  # two deaths a start: the supervisor waits longer after each
    for effect in (first, second):
        crash.arm()
        session, run_id, workspace = begin(crash, effect)
        if effect.asks:
            crash.api.allow(run_id)
        crash.died_at()
        happened = point == "tool.returned"
        view = finish(crash, run_id, outcome="happened" if happened else "not_happened")
        checked(effect, view, workspace, crash)
        kinds = [entry["kind"] for entry in proved(crash, session, run_id)]
        expected = STARTS[point](effect) + (effect is BASH and not happened)
        assert kinds.count("tool.started") == expected, (effect.name, kinds)
        assert ("tool.unknown" in kinds) == (effect is BASH), (effect.name, kinds)
        assert view["recovered_count"] == 1, effect.name

"""The engine in one thread under a virtual clock: a small world for each seed, thousands, on all processors.

What a world is, says ``tests/torture/simulated.py``; what must hold of it, ``simulated_judge.py`` beside it.
Each process loads the service once, on a database in memory; before each world every table is made as it was
then. What a seed plays is the same each time; only the names that the service gives to things differ.
"""

import argparse
import gc
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

from kheish_site.lib.crashpoints import POINTS
from kheish_site.supervisor.children import die_with_parent
from tests.torture.report import commit

ROOT: Final = Path(__file__).resolve().parents[2]
MANY: Final = 1000
"""From so many worlds on, each thing that can happen must have happened."""
EXPECTED: Final = {
    "approval.allowed": "approvals given", "approval.denied": "approvals denied",
    "approval.edited": "calls edited", "approval.expired": "approvals expired",
    "decision.made": "decisions of operators", "question.answered": "questions answered",
    "run.recovered": "takeovers", "run.stop_requested": "requests to stop", "tool.started": "calls started",
    "tool.unknown": "outcomes unknown",
}  # fmt: skip
"""Entries of the journal, and what they are counted as."""
DONE: Final = (
    "bells doubled", "bells lost", "decided a second time", "drained", "frozen past a lease",
    "overtaken in the middle",
)  # fmt: skip
_WORLD_SECONDS: Final = 120
_SAY_SECONDS: Final = 15.0
_BATCH: Final = 20
_MOST_SHOWN: Final = 20


def simulate(seed: int) -> Counter[str]:
    """Play one world from its beginning to its end; returns what happened in it. Raises: AssertionError."""
    from tests.torture import simulated, simulated_judge

    simulated.BELLS.rung.clear()
    simulated.TARGET.clear()
    simulated.CLOCK.seconds = 0.0
    world = simulated.World(seed)
    world.play()
    found = simulated_judge.judge(world)
    seen = world.seen + Counter({words: found[kind] for kind, words in EXPECTED.items()})
    deaths = sum(count for name, count in seen.items() if name.startswith("died at"))
    asked = bool(found["approval.requested"])
    seen.update({
        "sessions": len(world.sessions), "runs": len(world.runs), "workers": world.workers, "deaths": deaths,
        "worlds in which a worker died": deaths > 0, "worlds with a takeover": found["run.recovered"] > 0,
        "worlds that asked for an approval": asked, "journal entries": found.total(),
    })  # fmt: skip
    return seen


def prepare() -> Callable[[], None]:
    """Load the service on a database in memory, under our clock; returns what is done before each world."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")
    import logging

    import django
    from django.conf import settings

    settings.DATABASES["default"]["NAME"] = ":memory:"
    settings.DATABASES["default"].setdefault("OPTIONS", {})["cached_statements"] = 4096
    django.setup()
    logging.disable(logging.CRITICAL)
    from django.core.management import call_command
    from django.db import connection

    from kheish_site.lib import clock
    from sessions_app.engine import execute
    from sessions_app.services import routes, wake
    from sessions_app.services.doorbell import bells
    from sessions_app.services.routes import RouteFields
    from tests.torture.simulated import BELLS, CLOCK, SCRIPTS, register_tools

    call_command("migrate", interactive=False, verbosity=0)
    clock.now = CLOCK.now
    bells.bell = wake.bell = lambda: BELLS
    execute.time = CLOCK  # type: ignore[assignment]
    connection.ensure_connection()
    connection.connection.create_function("strftime", -1, CLOCK.strftime)
    bug = os.environ.get("KHEISH_TORTURE_BUG")
    if bug:
        import_module("tests.torture.bugs").install(bug)
    register_tools()
    for name, turns in SCRIPTS.items():
        fields = RouteFields(driver="scripted", model="script", options={"script": {"turns": turns}})
        routes.create(name, fields, default=name == "plain")
    gc.collect()
    gc.freeze()
    gc.disable()  # what worlds leave is collected between them, some at a time
    return _restorer(connection.connection)


def _restorer(database: sqlite3.Connection) -> Callable[[], None]:
    """Return what makes every table as it is now. The schema stays, and with it every compiled statement."""
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_stat%'"
    tables = [name for (name,) in database.execute(names).fetchall()]
    database.execute("ATTACH ':memory:' AS prepared")
    kept = []
    for name in tables:
        database.execute(f'CREATE TABLE prepared."_{name}" AS SELECT * FROM main."{name}"')
        if database.execute(f'SELECT 1 FROM main."{name}" LIMIT 1').fetchone():
            kept.append(name)

    def restore() -> None:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("BEGIN")
        for name in tables:
            database.execute(f'DELETE FROM main."{name}"')
        for name in kept:
            database.execute(f'INSERT INTO main."{name}" SELECT * FROM prepared."_{name}"')
        database.execute("COMMIT")
        database.execute("PRAGMA foreign_keys = ON")

    return restore


def play(restore: Callable[[], None], seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Play many worlds; yields each failure, and now and then how many were played and what happened."""
    from django.db import connection

    seen: Counter[str] = Counter()
    played = 0
    for seed in seeds:
        restore()
        try:
            with _limited(_WORLD_SECONDS):
                seen.update(simulate(seed))
        except Exception as error:
            yield {"seed": seed, "words": f"{type(error).__name__}: {error}"[:600]}
            if connection.in_atomic_block:
                raise
        played += 1
        if played % _BATCH == 0:
            gc.collect()
            yield {"played": played, "seen": seen}
    yield {"played": played, "seen": seen}


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"the world did not end within {seconds} s")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


@dataclass
class Tally:
    """What came of all worlds."""

    first: int
    count: int
    bug: str = ""
    began: float = field(default_factory=time.monotonic)
    failed: list[int] = field(default_factory=list)
    _played: dict[int, int] = field(default_factory=dict)
    _seen: dict[int, Counter[str]] = field(default_factory=dict)

    @property
    def played(self) -> int:
        """How many worlds were played to their end, or to their failure."""
        return sum(self._played.values())

    @property
    def seen(self) -> Counter[str]:
        """What happened in all of them."""
        return sum(self._seen.values(), Counter())

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began

    def hear(self, said: dict[str, Any]) -> None:
        """Take what a process says: of one failure, or of all worlds that it has played until now."""
        if "seed" in said:
            self.failed.append(said["seed"])
            if len(self.failed) <= _MOST_SHOWN:
                print(f"seed {said['seed']}: {said['words']}")
                print(f"    again: {self._again(said['seed'])}", flush=True)
        else:
            process = said["process"]
            self._played[process], self._seen[process] = said["played"], Counter(said["seen"])

    def _again(self, seed: int) -> str:
        return f"manage.py torture --simulate 1 --seed {seed}" + (f" --bug {self.bug}" if self.bug else "")

    def missing(self) -> list[str]:
        """What did not happen once in many worlds, so that they prove little."""
        wanted = (*engine_deaths(), *DONE, *EXPECTED.values()) if self.count >= MANY else ()
        seen = self.seen
        return [name for name in wanted if not seen[name]]

    def as_text(self) -> str:
        """The table, and what came of it in one last line."""
        seen = sorted(self.seen.items(), key=lambda item: ("died at" in item[0], item[0]))
        lines = [f"  {count:8}  {name}" for name, count in seen]
        lines += [f"FAILED: {name} in no world" for name in self.missing()]
        if len(self.failed) > _MOST_SHOWN:
            lines.append(f"FAILED: {len(self.failed)} worlds, the first of them shown above")
        told = f"{len(self.failed)} failed, {self.seconds:.0f} s"
        return "\n".join([*lines, f"{self.played} worlds, seeds {self.first} to {self._last}, {told}"])

    @property
    def _last(self) -> int:
        return self.first + self.count - 1


def engine_deaths() -> list[str]:
    """Return what deaths at the engine's crash points are counted as."""
    others = ("request.", "ingress.", "delivery.", "telegram.", "observation_schedule.", "master_key.")
    return [f"died at {point}" for point in POINTS if not point.startswith(others)]


def run(first: int, count: int, *, bug: str = "") -> int:
    """Play ``count`` worlds from seed ``first`` on all processors; 0 when everything held in each."""
    tally, processes = Tally(first, count, bug), min(os.cpu_count() or 1, count)
    print(f"{count} worlds from seed {first}, commit {commit()}, {processes} processes", flush=True)
    with tempfile.TemporaryDirectory(prefix="kheish-simulator-") as folder:
        child = _begin(Path(folder), processes, tally)
        listener = threading.Thread(target=_listen, args=(tally, child), daemon=True)
        listener.start()
        said = time.monotonic()
        while listener.is_alive():
            listener.join(0.1)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                told = f"{tally.played} of {count} worlds, {len(tally.failed)} failed"
                print(f"{tally.seconds:5.0f} s  {told}", flush=True)
        code = child.wait()
    print(tally.as_text(), flush=True)
    if code or tally.played != count:
        print(f"the simulator itself failed: it ended with {code}", file=sys.stderr)
        return 1
    return 1 if tally.failed or tally.missing() else 0


def _begin(folder: Path, processes: int, tally: Tally) -> "subprocess.Popen[str]":
    told = {"KHEISH_STATE_DIR": str(folder), "KHEISH_LEASE_SECONDS": "15", "PYTHONHASHSEED": "0"}
    told |= {"KHEISH_TORTURE_BUG": tally.bug}
    ours = ("KHEISH_", "DJANGO_", "PYTEST_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    command = [sys.executable, "-m", "tests.torture.simulator"]
    command += [str(tally.first), str(tally.first + tally.count), str(processes)]
    return subprocess.Popen(
        command, cwd=ROOT, env=kept | told, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    )


def _listen(tally: Tally, child: "subprocess.Popen[str]") -> None:
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            tally.hear(json.loads(line))


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare once, and fork PROCESSES that share out the worlds from FIRST to before END."""
    parser = argparse.ArgumentParser()
    for name in ("first", "end", "processes"):
        parser.add_argument(name, type=int)
    options = parser.parse_args(arguments)
    restore = prepare()
    pids = []
    for number in range(options.processes):
        pids.append(os.fork())
        if pids[-1] == 0:
            _play_and_leave(restore, number, range(options.first + number, options.end, options.processes))
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    return next((code for code in codes if code), 0)


def _play_and_leave(restore: Callable[[], None], number: int, seeds: Sequence[int]) -> NoReturn:
    code = 1
    try:
        die_with_parent()
        for said in play(restore, seeds):
            os.write(1, (json.dumps({"process": number, **said}) + "\n").encode())  # short: it is not torn
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main())

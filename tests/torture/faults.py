"""What is done to the service: its processes live as the schedule says, and what they stand on fails."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Final

import psycopg

from tests.support.service_process import state
from tests.torture import schedule, stage
from tests.torture.record import Record
from tests.torture.schedule import Fault, Life, Role
from tests.torture.stage import LEASE_SECONDS, Stage

AT_RANDOM: Final = "at random"
THAWED: Final = "after a thaw"
_DRAIN_SECONDS: Final = 150.0
"""A worker drains for three seconds. A busy machine makes minutes of them; one that hangs takes for ever."""
_LOOK_SECONDS: Final = 0.01
_FOR_EVER_SECONDS: Final = 1e6
_ACTIONS: Final = {"freeze": ":stop"}
_MOST_PATIENT: Final = 4.0


class Torturer:
    """Runs the lives and the faults until told to stop, and counts what really happened."""

    def __init__(
        self, stage: Stage, seed: int, record: Record, folder: Path, *,
        lives: Mapping[Role, Sequence[Life]] | None = None, faults: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """``lives`` and ``faults`` stand in for the schedule: a role that is not named lives for ever."""
        self._stage, self._seed, self._record, self._folder = stage, seed, record, folder
        self._own_lives, self._own_faults = lives, faults
        self._over, self._restarting = threading.Event(), threading.Event()
        self.kills: Counter[str] = Counter()
        self._missed: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._lock = threading.Lock()
        self._numbers = 0
        self._threads: list[threading.Thread] = []

    @property
    def total(self) -> int:
        """How many processes were killed and seen dead of it."""
        with self._lock:
            return sum(self.kills.values())

    def start(self) -> None:
        """Begin."""
        slots: list[tuple[Role, int]] = [("worker", number) for number in range(self._stage.worker_slots)]
        for role, slot in [*slots, ("web", 0), ("command", 0)]:
            lives = self._lives(role, slot)
            self._begin(f"{role}-{slot}", lambda lives=lives: self._live_on(lives))
        self._begin("faults", self._fail_on)

    def _lives(self, role: Role, slot: int) -> Iterator[Life]:
        if self._own_lives is None:
            return schedule.lives(self._seed, role, slot)
        for_ever = [Life(role=role, ending="kill", seconds=_FOR_EVER_SECONDS)]
        lives = list(self._own_lives.get(role, [] if role == "command" else for_ever))
        turn = slot % max(1, len(lives))
        return cycle(lives[turn:] + lives[:turn])  # no two places are at the same life

    def _faults(self) -> Iterator[Fault]:
        if self._own_lives is None:
            return schedule.faults(self._seed, self._stage.profile)
        return cycle(Fault(kind=kind, after=2.0, seconds=0.3) for kind in self._own_faults)

    def stop(self) -> None:
        """End every life, and bring back what is away."""
        self._over.set()
        for thread in self._threads:
            thread.join(2 * _DRAIN_SECONDS)
            if thread.is_alive():
                self.troubles.append(f"{thread.name} did not end")

    def _begin(self, name: str, act: Callable[[], None]) -> None:
        def whole() -> None:
            try:
                act()
            except Exception as error:
                self.troubles.append(f"{name}: {error!r}")
                raise

        thread = threading.Thread(target=whole, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    # Lives

    def _live_on(self, lives: Iterator[Life]) -> None:
        for life in lives:
            while self._restarting.is_set() and not self._over.is_set():
                time.sleep(0.05)
            if self._over.is_set():
                return
            if life.role == "command":
                self._over.wait(4.0)
            self._live(life)

    def _live(self, life: Life) -> None:
        with self._lock:
            self._numbers += 1
            marker = self._folder / f"died-{self._numbers}"
        points = ",".join(filter(None, (life.point, life.also)))
        told = {
            "KHEISH_CRASHPOINT": f"{points}{_ACTIONS.get(life.ending, '')}",
            "KHEISH_CRASHPOINT_ONCE": str(marker),
            "KHEISH_CRASHPOINT_SKIP": str(life.skip >> self._missed[life.point]),
        } if life.point else {}  # fmt: skip
        cutter = self._stage.parts.cutter
        pid = self._stage.start(
            life.role, environment=told, skew_seconds=life.skew_seconds, arguments=["rotate_master_key"],
            database_port=cutter.port if cutter is not None and life.cuttable else 0,
        )  # fmt: skip
        self._record.add("start", pid=pid, role=life.role, point=life.point, skew=life.skew_seconds)
        if life.skew_seconds:
            self._count_fault("clock_skewed")
        code = self._until_ended(pid, life.seconds * self._patience(life))
        if code is not None:
            self._ended_by_itself(life, pid, code, marker)
        elif self._restarting.is_set() or life.ending == "term":
            self._terminate(life, pid)
        elif life.ending == "freeze" and not self._over.is_set():
            self._freeze(life, pid)
        else:
            self._missed[life.point] += life.ending == "point"
            self._kill(pid, life.role, AT_RANDOM)

    def _patience(self, life: Life) -> float:
        """A place that nobody came to in time is waited for longer: the machine is slow."""
        return min(_MOST_PATIENT, 1 + self._missed[life.point] / 2) if life.ending == "point" else 1.0

    def _until_ended(self, pid: int, seconds: float) -> int | None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._over.is_set() and not self._restarting.is_set():
            if (code := stage.ended(pid)) is not None:
                return code
            if state(pid) == "T":
                return None
            time.sleep(_LOOK_SECONDS)
        return stage.ended(pid)

    def _ended_by_itself(self, life: Life, pid: int, code: int, marker: Path) -> None:
        if life.ending == "point" and marker.exists():
            if code != -signal.SIGKILL:
                raise stage.NotDead(f"{life.role} {pid} passed {life.point} and ended with {code}")
            self._note_kill(pid, life.role, marker.read_text(), since=marker.stat().st_mtime)
            return
        self._record.add("ended", pid=pid, role=life.role, code=code)
        if life.role != "command" or code:
            # A process that cannot start while the database is away gives up; whoever keeps it tries again.
            self._count_fault(f"{life.role} gave up")
            time.sleep(0.3)

    def _kill(self, pid: int, role: str, where: str) -> None:
        since = time.time()
        if stage.kill(pid):
            self._note_kill(pid, role, where, since=since)
        else:
            self._record.add("ended", pid=pid, role=role)

    def _note_kill(self, pid: int, role: str, where: str, *, since: float) -> None:
        """``since`` is when it died at the earliest: the record may be written a good while later."""
        self._record.add("killed", pid=pid, role=role, point=where, status=-9, since=since)
        with self._lock:
            self.kills[where] += 1

    def _terminate(self, life: Life, pid: int) -> None:
        os.kill(pid, signal.SIGTERM)
        self._record.add("terminated", pid=pid, role=life.role)
        self._count_fault("sigterm")
        if stage.wait_end(pid, _DRAIN_SECONDS, meanwhile=partial(_thaw, pid)) is None:
            self.troubles.append(f"a {life.role} did not leave within {_DRAIN_SECONDS:g} s of SIGTERM")
            for tell in (signal.SIGUSR1, signal.SIGUSR2):
                os.kill(pid, tell)
                time.sleep(0.5)
            self._kill(pid, life.role, AT_RANDOM)

    def _freeze(self, life: Life, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        self._record.add("frozen", pid=pid, role=life.role, point=life.point)
        self._over.wait(LEASE_SECONDS + 1.5)
        os.kill(pid, signal.SIGCONT)
        self._record.add("thawed", pid=pid, role=life.role)
        self._count_fault("frozen_past_its_lease")
        code = self._until_ended(pid, 2.0)
        if code is None:
            self._kill(pid, life.role, THAWED)

    # What they stand on

    def _fail_on(self) -> None:
        for fault in self._faults():
            if self._over.wait(fault.after):
                return
            self._record.add("fault", kind=fault.kind)
            self._count_fault(fault.kind)
            with suppress(OSError, psycopg.OperationalError):
                getattr(self, f"_{fault.kind}")(fault)
            self._record.add("fault_over", kind=fault.kind)

    def _count_fault(self, kind: str) -> None:
        with self._lock:
            self.faults[kind] += 1

    def _postgres_restart(self, fault: Fault) -> None:
        self._stage.parts.stop_postgres()
        time.sleep(fault.seconds)
        self._stage.parts.start_postgres()

    def _connections_cut(self, fault: Fault) -> None:
        self._stage.parts.cut_connections()

    def _answer_lost(self, fault: Fault) -> None:
        assert self._stage.parts.cutter is not None
        self._stage.parts.cutter.lose_answers(3)

    def _redis_kill(self, fault: Fault) -> None:
        self._stage.parts.kill_redis()
        time.sleep(fault.seconds)
        self._stage.parts.start_redis()

    def _redis_flush(self, fault: Fault) -> None:
        self._stage.parts.flush_redis()

    def _redis_pause(self, fault: Fault) -> None:
        self._stage.parts.pause_redis(fault.seconds)

    def _bells_doubled(self, fault: Fault) -> None:
        self._stage.parts.double_bells(self._stage.environment["KHEISH_DATABASE_URL"])

    def _everything_restarted(self, fault: Fault) -> None:
        """What an upgrade does: everything leaves in order, and comes back to work that waits."""
        self._restarting.set()
        time.sleep(fault.seconds + 1.0)
        self._restarting.clear()


def _thaw(pid: int) -> None:
    """Wake a process that has frozen itself: it neither hears nor leaves."""
    if state(pid) == "T":
        os.kill(pid, signal.SIGCONT)

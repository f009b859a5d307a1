"""Runs with one model call, over some sessions at once, beside bare Celery making the same calls.

Closed loop: each session sends its next input when the last one is answered. A run counts as completed when
its event arrives on the service's own stream. Bare Celery (prefork, the same broker, the same model server)
is measured in the same round; what matters is the ratio, which a busy machine changes less than the figures.
Processor time counts everything but the load and the model: web, workers, PostgreSQL and Redis.
"""

import argparse
import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final
from urllib.parse import urlsplit

import redis

from bench import _processes as processes
from bench._history import remember
from kheish_site.cli.client import Client, path
from kheish_site.demo.stage import OwnService
from kheish_site.testing.servers import DURABLE, servers

WARM_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60.0
CELERY_PROCESSES: Final = 8


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One measurement of one system. Times in milliseconds."""

    system: str
    sessions: int
    model_ms: float
    runs: int
    runs_per_second: float
    accepted_p50: float
    accepted_p99: float
    completed_p50: float
    completed_p95: float
    completed_p99: float
    processor_ms_per_run: float
    memory_mib: float


Work = Callable[[int], tuple[float, float]]
"""Does one run in the session of that number; returns when it was accepted and when it was completed."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember. 0 when every run completed."""
    options = _options(arguments)
    rows: list[Figures] = []
    with ExitStack() as stack:
        model = stack.enter_context(_model(options.model_ms))
        named = stack.enter_context(servers(DURABLE)) if options.profile == "services" else {}
        shared = sorted(processes.children() - {model.pid})
        kheish = stack.enter_context(_kheish(named, model.url, options.workers, max(options.sessions)))
        celery = stack.enter_context(_celery(named, model.url)) if named and not options.alone else None
        for _ in range(options.rounds):
            for sessions in options.sessions:
                for system in filter(None, (celery, kheish)):
                    found = _measure(system, sessions, options, shared)
                    rows.append(found)
                    _say(f"{found.system:7} {sessions:4} sessions  {found.runs_per_second:7.1f} runs/s")
    _show(rows, as_json=options.json)
    remember("runs", {"profile": options.profile, "rows": [asdict(row) for row in rows]})
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py bench runs", description=__doc__)
    parser.add_argument("--profile", choices=("services", "embedded"), default="services")
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 8, 32], metavar="N")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="for each (8)")
    parser.add_argument("--rounds", type=int, default=1, metavar="N", help="(1)")
    parser.add_argument(
        "--model-ms", type=float, default=0.0, metavar="MS", help="how long the model takes (0)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="worker processes (1)")
    parser.add_argument("--alone", action="store_true", help="without bare Celery")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class _Model:
    pid: int
    url: str


@contextmanager
def _model(delay_ms: float) -> Iterator[_Model]:
    port = processes.free_port()
    with processes.running([sys.executable, "-m", "bench._model", str(port), str(delay_ms)]) as pid:
        processes.wait_for_port(port)
        yield _Model(pid, f"http://127.0.0.1:{port}/v1")


@dataclass(frozen=True)
class _System:
    name: str
    pid: int
    work: Work


@contextmanager
def _kheish(named: dict[str, str], model: str, workers: int, sessions: int) -> Iterator[_System]:
    settings = {name.replace("KHEISH_TEST_", "KHEISH_"): value for name, value in named.items()} | {
        "KHEISH_WORKER_PROCESSES": str(workers),
        "KHEISH_LOG_LEVEL": "WARNING",
    }
    with OwnService(**settings) as service:
        client = service.client
        route = {
            "route_id": "bench",
            "driver": "openai",
            "base_url": model,
            "model": "bench",
            "default": True,
        }
        client.request("POST", path("routes"), route)
        for number in range(sessions):
            client.sessions(f"bench-{number}").create()
        runs = _Runs(client, service.token)
        runs.follow()
        yield _System("kheish", service.pid, runs.one)


class _Runs:
    """The client's side: one connection a session, one stream for all ends."""

    def __init__(self, client: Client, token: str) -> None:
        self._client = client
        self._host = urlsplit(client.base_url).netloc
        self._token = token
        self._local = threading.local()
        self._lock = threading.Lock()
        self._ends: dict[str, threading.Event] = {}

    def follow(self) -> None:
        """Begin to listen for ends of runs."""
        threading.Thread(target=self._listen, daemon=True).start()

    def one(self, session: int) -> tuple[float, float]:
        run_id = self._submit(f"bench-{session}")
        accepted = time.monotonic()
        ended = self._end_of(run_id)
        if not ended.wait(ANSWER_SECONDS):
            raise TimeoutError(f"{run_id} did not end")
        with self._lock:
            del self._ends[run_id]
        return accepted, time.monotonic()

    def _submit(self, session_id: str) -> str:
        wire = getattr(self._local, "wire", None)
        if wire is None:
            wire = self._local.wire = http.client.HTTPConnection(self._host, timeout=ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        wire.request("POST", path("sessions", session_id, "input"), b'{"content": "note this"}', headers)
        answer = wire.getresponse()
        body: dict[str, Any] = json.loads(answer.read())
        if answer.status != 202:
            raise RuntimeError(f"{answer.status}: {body}")
        return str(body["run_id"])

    def _end_of(self, run_id: str) -> threading.Event:
        with self._lock:
            return self._ends.setdefault(run_id, threading.Event())

    def _listen(self) -> None:
        kinds = "run.completed,run.failed,run.cancelled,run.interrupted"
        for event in self._client.stream(path("events", "stream"), query={"kinds": kinds}):
            self._end_of(event.data["run_id"]).set()


@contextmanager
def _celery(named: dict[str, str], model: str) -> Iterator[_System]:
    url = named["KHEISH_TEST_REDIS_URL"].removesuffix("/0") + "/5"
    told = {"BENCH_REDIS_URL": url, "BENCH_MODEL_URL": model}
    os.environ |= told
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-q", "-A", "bench._celery", "worker"]
    command += [
        "-P",
        "prefork",
        "-c",
        str(CELERY_PROCESSES),
        "-l",
        "ERROR",
        "--without-gossip",
        "--without-mingle",
    ]
    with processes.running(command, **told) as pid:
        from bench._celery import call

        answers = redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS + 5)

        def one(session: int) -> tuple[float, float]:
            call.delay("note this", f"answer-{session}")
            accepted = time.monotonic()
            if answers.brpop([f"answer-{session}"], int(ANSWER_SECONDS)) is None:
                raise TimeoutError("a task did not end")
            return accepted, time.monotonic()

        one(0)
        yield _System("celery", pid, one)


def _measure(system: _System, sessions: int, options: argparse.Namespace, shared: list[int]) -> Figures:
    _loop(system.work, sessions, WARM_SECONDS)
    usage = processes.Usage([system.pid, *shared])
    taken = _loop(system.work, sessions, options.seconds)
    used, memory = usage.processor_seconds(), usage.resident_mib()
    accepted = sorted(found[0] for found in taken.times)
    completed = sorted(found[1] for found in taken.times)
    count = len(taken.times)
    return Figures(
        system=system.name,
        sessions=sessions,
        model_ms=options.model_ms,
        runs=count,
        runs_per_second=round(count / taken.seconds, 1),
        accepted_p50=_at(accepted, 0.5),
        accepted_p99=_at(accepted, 0.99),
        completed_p50=_at(completed, 0.5),
        completed_p95=_at(completed, 0.95),
        completed_p99=_at(completed, 0.99),
        processor_ms_per_run=round(used * 1000 / max(count, 1), 2),
        memory_mib=round(memory, 1),
    )


@dataclass(frozen=True)
class _Taken:
    seconds: float
    times: list[tuple[float, float]]


def _loop(work: Work, sessions: int, seconds: float) -> _Taken:
    """Let every session work for ``seconds``; whatever has begun is finished and counted."""
    began = time.monotonic()

    def session(number: int) -> list[tuple[float, float]]:
        times = []
        while time.monotonic() - began < seconds:
            sent = time.monotonic()
            accepted, completed = work(number)
            times.append((accepted - sent, completed - sent))
        return times

    with ThreadPoolExecutor(sessions) as pool:  # a thread keeps its connection only for this loop
        found = list(pool.map(session, range(sessions)))
    return _Taken(time.monotonic() - began, [each for times in found for each in times])


def _at(ordered: Sequence[float], share: float) -> float:
    return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else 0.0


def _show(rows: Sequence[Figures], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
        return
    print(f"{os.cpu_count()} processors, load now {os.getloadavg()[0]:.1f}; medians over rounds")
    print("sessions  system   runs/s  ratio  accepted p50/p99 ms  completed p50/p95/p99 ms  CPU ms/run  MiB")
    for sessions in sorted({row.sessions for row in rows}):
        bare = _median(rows, "celery", sessions, "runs_per_second")
        for system in ("celery", "kheish"):
            if not any(row.system == system and row.sessions == sessions for row in rows):
                continue

            def of(name: str, system: str = system, sessions: int = sessions) -> float:
                return _median(rows, system, sessions, name)

            ratio = f"{of('runs_per_second') / bare:.2f}" if bare else "-"
            print(
                f"{sessions:8}  {system:7} {of('runs_per_second'):7.1f}  {ratio:>5}  "
                f"{of('accepted_p50'):9.1f}/{of('accepted_p99'):<9.1f}  "
                f"{of('completed_p50'):7.1f}/{of('completed_p95'):.1f}/{of('completed_p99'):<8.1f}  "
                f"{of('processor_ms_per_run'):10.2f}  {of('memory_mib'):5.0f}"
            )


def _median(rows: Sequence[Figures], system: str, sessions: int, name: str) -> float:
    found = [getattr(row, name) for row in rows if row.system == system and row.sessions == sessions]
    return float(median(found)) if found else 0.0


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)

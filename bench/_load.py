"""The client's side: inputs, what becomes of them, and loads of many sessions at once."""

import http.client
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from bench._service import Bench
from kheish_site.cli.client import path

ANSWER_SECONDS: Final = 120.0
_IDLE_SECONDS: Final = 20.0
ENDS: Final = ("run.completed", "run.failed", "run.cancelled", "run.interrupted")


class Inputs:
    """Submits inputs over one connection a thread."""

    def __init__(self, bench: Bench) -> None:
        self._host = urlsplit(bench.client.base_url).netloc
        self._headers = {
            "Authorization": f"Bearer {bench.service.token}",
            "Content-Type": "application/json",
        }
        self._local = threading.local()

    def submit(self, session_id: str, route_id: str, content: str = "note this") -> str:
        """Give a session an input; returns the run's id once it is accepted. Raises RuntimeError."""
        body = {"content": content, "route_id": route_id}
        answer = self.post(path("sessions", session_id, "input"), body, expected=202)
        return str(answer["run_id"])

    def session(self) -> str:
        """Make a session and return its id. Raises RuntimeError."""
        made = self.post(path("sessions"), {"session_id": f"bench-{uuid.uuid4().hex}"}, expected=201)
        return str(made["session_id"])

    def post(self, target: str, body: dict[str, Any], *, expected: int = 200) -> dict[str, Any]:
        """POST over this thread's connection. Raises RuntimeError for another status."""
        wire = self._wire()
        wire.request("POST", target, json.dumps(body), self._headers)
        answer = wire.getresponse()
        said: dict[str, Any] = json.loads(answer.read())
        if answer.status != expected:
            raise RuntimeError(f"{answer.status}: {said}")
        return said

    def _wire(self) -> http.client.HTTPConnection:
        """Return this thread's connection, a new one when the server may have closed it for its idleness."""
        wire: http.client.HTTPConnection | None = getattr(self._local, "wire", None)
        now = time.monotonic()
        if wire is None or now - self._local.used > _IDLE_SECONDS:
            wire = self._local.wire = http.client.HTTPConnection(self._host, timeout=ANSWER_SECONDS)
        self._local.used = now
        return wire


class Events:
    """Listens to the stream of all sessions and keeps when each event of some kinds came, by run."""

    def __init__(self, bench: Bench, kinds: Iterable[str] = ENDS) -> None:
        self._bench, self._kinds = bench, ",".join(kinds)
        self._seen: dict[str, list[tuple[str, float, float]]] = {}
        self._news = threading.Condition()
        self._waiting: dict[str, threading.Event] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def ended(self, run_id: str) -> str:
        """Wait for the end of a run and return its kind. Raises TimeoutError."""
        with self._news:
            known = self._waiting.setdefault(run_id, threading.Event())
        if not known.wait(ANSWER_SECONDS):
            raise TimeoutError(f"{run_id} did not end")
        with self._news:
            self._waiting.pop(run_id, None)
            return next(kind for kind, *_ in reversed(self._seen[run_id]) if kind in ENDS)

    def came(self, run_id: str, kind: str) -> tuple[float, float]:
        """Wait for an event; returns when it came and was written, by the clock. Raises TimeoutError."""
        deadline = time.monotonic() + ANSWER_SECONDS
        with self._news:
            while True:
                for known, came, written in self._seen.get(run_id, ()):
                    if known == kind:
                        return came, written
                if not self._news.wait(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError(f"{run_id}: no {kind}")

    def of(self, run_id: str) -> list[tuple[str, float, float]]:
        """Return what was seen of a run: kind, when it came, when it was written."""
        with self._news:
            return list(self._seen.get(run_id, ()))

    def _listen(self) -> None:
        stream = self._bench.client.stream(path("events", "stream"), query={"kinds": self._kinds}, cursor="0")
        for event in stream:
            came, run_id = time.time(), event.data["run_id"]
            with self._news:
                self._seen.setdefault(run_id, []).append((event.name, came, moment(event.data["at"])))
                if event.name in ENDS:
                    self._waiting.setdefault(run_id, threading.Event()).set()
                self._news.notify_all()


def moment(at: str) -> float:
    """Return a time of the API as seconds since the epoch."""
    return datetime.fromisoformat(at).timestamp()


@dataclass
class Taken:
    """What a load found: one value for each piece of work, and how long all of it took."""

    seconds: float = 0.0
    found: list[Any] = field(default_factory=list)


@dataclass
class Worked(Taken):
    """What a closed loop found, and its pace: pieces of work a second."""

    pace: float = 0.0


def closed_loop(work: Callable[[int], Any], sessions: int, seconds: float) -> Worked:
    """Let every session work, one piece after the other and at least one; what has begun is counted.

    The pace is that of each session until its last piece was done, added up: one that is done does not wait
    for the others. A thread, and with it a connection, lives for this loop alone.
    """
    began = time.monotonic()

    def session(number: int) -> tuple[list[Any], float]:
        done = [work(number)]
        while (taken := time.monotonic() - began) < seconds:
            done.append(work(number))
        return done, len(done) / taken

    with ThreadPoolExecutor(sessions) as pool:
        found = list(pool.map(session, range(sessions)))
    everything = [each for done, _ in found for each in done]
    return Worked(time.monotonic() - began, everything, sum(pace for _, pace in found))


def open_loop(work: Callable[[int], Any], *, rate: float, seconds: float, threads: int = 64) -> Taken:
    """Begin work when it is due, whether or not earlier work is done; each is told its number.

    What ``work`` returns is kept with how long it took from the moment it was due, so that a stall is not
    hidden by the waiting it causes.
    """
    begin = time.monotonic() + 0.2

    def one(number: int) -> tuple[float, Any]:
        due = begin + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        done = work(number)
        return time.monotonic() - due, done

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(one, range(int(rate * seconds))))
    return Taken(time.monotonic() - begin, found)


def all_at_once(work: Callable[[Any], Any], items: Sequence[Any], threads: int) -> Taken:
    """Do a piece of work for each item, so many at a time."""
    began = time.monotonic()
    with ThreadPoolExecutor(min(threads, max(len(items), 1))) as pool:
        found = list(pool.map(work, items))
    return Taken(time.monotonic() - began, found)

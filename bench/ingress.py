"""How fast a webhook is answered while the runs it makes are being driven.

Open loop: events are sent when they are due, whether or not earlier ones were answered, and each latency
counts from the moment its event was due, so that a stall is not hidden by the waiting it causes.
"""

import argparse
import http.client
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from bench import _load
from bench._figures import Report, spread
from bench._service import Bench, Counts, say
from bench._workload import Options, Workload
from kheish_site.cli.client import path

TOKEN: Final = "bench-ingress-token"  # noqa: S105 (of a service that lives for this measurement)
WARM_RATE: Final = 20.0
WARM_SECONDS: Final = 2.0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="events a second (50)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for how long (20)")
    parser.add_argument("--sessions", type=int, default=10, metavar="N", help="into how many sessions (10)")
    parser.add_argument("--model-ms", type=float, default=0.0, metavar="MS", help="the model takes (0)")


def measure(bench: Bench, options: Options) -> Report:
    """Send events at an even pace, and wait for the ends of their runs."""
    hook = _hook(bench, options)
    events = _load.Events(bench)
    _send(hook, rate=WARM_RATE, seconds=min(WARM_SECONDS, options.seconds), events=events)
    say(f"sending {options.rate:g} events a second for {options.seconds:g} s")
    usage, counts = bench.usage(), Counts(bench)
    answered, run_ids, refused = _send(hook, rate=options.rate, seconds=options.seconds)
    began = time.monotonic()
    ends = [events.ended(run_id) for run_id in run_ids]
    drained, used = time.monotonic() - began, usage.processor_seconds()
    row = {
        "rate_per_second": options.rate,
        "sent": int(options.rate * options.seconds),
        "answered": len(answered),
        "refused": refused,
        "runs": len(set(run_ids)),
        **spread("answered", answered, (0.5, 0.95, 0.99, 1.0)),
        "drained_seconds": round(drained, 2),
        "processor_ms_per_event": round(1000 * sum(used.values()) / max(len(run_ids), 1), 2),
        **counts.per(len(run_ids)),
    }
    report = Report(rows=[row])
    report.add(f"answered p50, {options.rate:g} events a second", row["answered_p50_ms"], "ms")
    report.add(f"answered p99, {options.rate:g} events a second", row["answered_p99_ms"], "ms")
    report.add("all runs ended after the last answer", row["drained_seconds"], "s")
    if refused or row["runs"] != row["sent"] or any(kind != "run.completed" for kind in ends):
        report.problems.append(f"events were refused or made no run of their own that completed: {row}")
    return report


@dataclass(frozen=True)
class _Hook:
    """Where events go, over one connection a thread."""

    host: str
    connector: str
    sessions: int
    local: threading.local = field(default_factory=threading.local)

    def post(self, event_id: str, number: int) -> str:
        """Send one event; returns its run's id, "" when it was refused."""
        wire: http.client.HTTPConnection | None = getattr(self.local, "wire", None)
        if wire is None:
            wire = self.local.wire = http.client.HTTPConnection(self.host, timeout=30)
        session = f"{self.connector}-{number % self.sessions}"
        body = {"content": f"event {event_id}", "idempotency_key": event_id, "session_id": session}
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        try:
            wire.request("POST", path("connectors", "http", self.connector), json.dumps(body), headers)
            answer = wire.getresponse()
            said: dict[str, Any] = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            wire.close()
            self.local.wire = None
            return ""
        return str(said["run_id"]) if answer.status == 200 else ""


def _hook(bench: Bench, options: Options) -> _Hook:
    """Make a connector whose sessions use the model: the route of what comes in is the daemon's default."""
    route = bench.route(ms=options.model_ms, default=True)
    name = f"bench-{route.rpartition('-')[2]}"
    body = {
        "settings": {"ingress_events_per_second": 10_000},
        "secrets": {"bearer_token": {"value": TOKEN}},
    }
    bench.client.request("PUT", path("runtime", "connectors", "http", name), body)
    return _Hook(urlsplit(bench.client.base_url).netloc, name, options.sessions)


def _send(
    hook: _Hook, *, rate: float, seconds: float, events: _load.Events | None = None
) -> tuple[list[float], list[str], int]:
    """Return the seconds until each accepted event was answered, its runs, and how many were refused."""
    prefix = uuid.uuid4().hex[:8]
    taken = _load.open_loop(
        lambda number: hook.post(f"{prefix}-{number}", number), rate=rate, seconds=seconds
    )
    good = [(late, run_id) for late, run_id in taken.found if run_id]
    if events is not None:
        for _, run_id in good:
            events.ended(run_id)
    return [late for late, _ in good], [run_id for _, run_id in good], len(taken.found) - len(good)


WORKLOAD: Final = Workload(
    name="ingress",
    about=__doc__,
    measure=measure,
    options=_add_options,
    profiles=("services", "embedded"),
)


def main(arguments: Sequence[str]) -> int:
    """Measure, print and remember."""
    return WORKLOAD.run(arguments)

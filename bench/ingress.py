"""How fast a webhook is answered while the runs it makes are being driven, on the embedded profile.

Open loop: events are sent when they are due, whether or not earlier ones were answered, and each latency
counts from the moment its event was due, so that a stall is not hidden by the waiting it causes.
"""

import argparse
import http.client
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from kheish_site.cli.client import Client, path
from kheish_site.demo.stage import OwnService

TOKEN = "bench-ingress-token"  # noqa: S105 (of a service that lives for this measurement)
CONNECTOR = "bench"
SETTLE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """One measurement. Times in milliseconds."""

    rate_per_second: float
    seconds: float
    sessions: int
    sent: int
    answered: int
    refused: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    longest_ms: float
    drained_seconds: float
    runs: int
    processors: int
    load_before: float


def main(arguments: Sequence[str]) -> int:
    """Measure and print; 1 when an event was lost, refused or made no run of its own."""
    options = _options(arguments)
    load = os.getloadavg()[0]
    with OwnService() as service:
        client = service.client
        _prepare(client)
        host = urlsplit(client.base_url).netloc
        _send_all(host, rate=20, seconds=2, sessions=options.sessions, prefix="warm")
        print(
            f"sending {options.rate:g} events a second for {options.seconds:g} s", file=sys.stderr, flush=True
        )
        latencies, refused = _send_all(
            host, rate=options.rate, seconds=options.seconds, sessions=options.sessions, prefix="event"
        )
        drained, runs = _drained(client, options.sessions)
    report = Report(
        rate_per_second=options.rate,
        seconds=options.seconds,
        sessions=options.sessions,
        sent=int(options.rate * options.seconds),
        answered=len(latencies),
        refused=refused,
        p50_ms=_at(latencies, 0.50),
        p95_ms=_at(latencies, 0.95),
        p99_ms=_at(latencies, 0.99),
        longest_ms=_at(latencies, 1.0),
        drained_seconds=drained,
        runs=runs,
        processors=os.cpu_count() or 1,
        load_before=load,
    )
    _show(report, as_json=options.json)
    return 0 if report.answered == report.sent and not refused and runs == report.sent + 40 else 1


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="manage.py bench ingress", description=__doc__)
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="events a second (50)")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="for how long (20)")
    parser.add_argument("--sessions", type=int, default=10, metavar="N", help="into how many sessions (10)")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args(arguments)


def _prepare(client: Client) -> None:
    route = {
        "route_id": "bench",
        "driver": "scripted",
        "model": "script",
        "options": {"script": {"turns": [{"text": "noted"}]}},
        "default": True,
    }
    client.request("POST", path("routes"), route)
    body = {
        "settings": {"ingress_events_per_second": 10_000},
        "secrets": {"bearer_token": {"value": TOKEN}},
    }
    client.request("PUT", path("runtime", "connectors", "http", CONNECTOR), body)


def _send_all(
    host: str, *, rate: float, seconds: float, sessions: int, prefix: str
) -> tuple[list[float], int]:
    """Send events at an even pace; return the latencies in ms of those accepted, and how many were not."""
    local = threading.local()
    begin = time.monotonic() + 0.2

    def one(number: int) -> float | None:
        due = begin + number / rate
        time.sleep(max(0.0, due - time.monotonic()))
        status = _post(local, host, f"{prefix}-{number}", session=f"bench-{number % sessions}")
        return (time.monotonic() - due) * 1000 if status == 200 else None

    with ThreadPoolExecutor(64) as pool:
        found = list(pool.map(one, range(int(rate * seconds))))
    return sorted(value for value in found if value is not None), found.count(None)


def _post(local: Any, host: str, event_id: str, *, session: str) -> int:
    wire: http.client.HTTPConnection | None = getattr(local, "wire", None)
    if wire is None:
        wire = local.wire = http.client.HTTPConnection(host, timeout=30)
    body = {"content": f"event {event_id}", "idempotency_key": event_id, "session_id": session}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    try:
        wire.request("POST", f"/v1/connectors/http/{CONNECTOR}", json.dumps(body), headers)
        answer = wire.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        wire.close()
        local.wire = None
        return 0


def _drained(client: Client, sessions: int) -> tuple[float, int]:
    """Wait until every run has ended; return how long that took and how many completed."""
    began = time.monotonic()
    while time.monotonic() - began < SETTLE_SECONDS:
        page = client.page(path("runs"), query={"status": "queued"}, limit=1)
        active = client.page(path("runs"), query={"status": "running"}, limit=1)
        if not page["items"] and not active["items"]:
            break
        time.sleep(0.2)
    done = client.page(path("runs"), query={"status": "completed"}, limit=1)["pagination"]["total_count"]
    return time.monotonic() - began, int(done)


def _at(ordered: Sequence[float], share: float) -> float:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else 0.0


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(report)))
        return
    print(f"{platform.machine()}, {report.processors} processors, load before {report.load_before:.1f}")
    print(f"{report.answered} of {report.sent} events answered, {report.refused} not")
    print(f"answered within: p50 {report.p50_ms} ms, p95 {report.p95_ms} ms, p99 {report.p99_ms} ms")
    print(
        f"longest {report.longest_ms} ms; all {report.runs} runs completed {report.drained_seconds:.1f} s later"
    )

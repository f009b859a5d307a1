"""What a measurement is made on, and how fast that is in this hour: without it figures cannot be compared."""

import os
import platform
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Final

from bench._processes import ROOT

_LOOP: Final = """
import json, statistics, time

class Point:
    def __init__(self, x):
        self.x = x

    def moved(self, by):
        return self.x + by

def loop():
    seen = {}
    for number in range(30_000):
        value = Point(number).moved(1)
        seen[f"at {number % 100}"] = value if isinstance(value, int) else None
    for _ in range(150):
        json.dumps({"seen": [1, 2, {"three": "four"}]}, sort_keys=True)

def seconds():
    began = time.perf_counter()
    loop()
    return time.perf_counter() - began

print(statistics.median(seconds() for _ in range(15)) * 1000)
"""
"""Calls, attributes, dictionaries, text: what an interpreter does all day. Some 20 ms, fifteen times."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where it was measured. ``loop_ms`` is how long a fixed loop takes in one process alone, ``loops_ms`` in
    as many at once as there are processors: two that are threads of one core slow each other down."""

    arch: str
    processors: int
    load: float
    python: str
    loop_ms: float
    loops_ms: float

    def as_json(self) -> dict[str, Any]:
        """Return it as the history keeps it."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.processors} processors, load {self.load:.1f}; Python {self.python}, "
            f"a fixed loop takes {self.loop_ms:.1f} ms, one on each processor {self.loops_ms:.1f}"
        )


def looked_at() -> Machine:
    """Look at the machine as it is now. Takes a second; nothing else should run."""
    processors = os.cpu_count() or 1
    load = round(os.getloadavg()[0], 1)
    return Machine(
        arch=platform.machine(),
        processors=processors,
        load=load,
        python=platform.python_version(),
        loop_ms=_loops(1),
        loops_ms=_loops(processors),
    )


def _loops(count: int) -> float:
    """Return how long the slowest of ``count`` loops at once takes, in milliseconds."""
    command = [sys.executable, "-I", "-S", "-c", _LOOP]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    said = [child.communicate()[0] for child in running]
    return round(max(map(float, said)), 1)

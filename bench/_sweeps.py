"""``python -m bench._sweeps TIMES``: how long each part of a worker's sweep takes, as one line of JSON.

It is told the service's variables, and calls what the worker calls: the second call counts, and those after
it. Retention is asked as where ended sessions go after some days, though none is old enough.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

from bench import _processes as processes
from bench._figures import at
from bench._service import Bench

PARTS: Final = ("due", "lost_workers", "expiry", "shell_tasks", "deliveries", "retention")


def times(bench: Bench, count: int) -> dict[str, float]:
    """Return the median milliseconds of each part, on the database of a running service."""
    told = {
        **bench.environment,
        "KHEISH_STATE_DIR": str(bench.service.state_dir),
        "KHEISH_KEEP_ENDED_SESSIONS_DAYS": "365",
        "DJANGO_SETTINGS_MODULE": "kheish_site.settings",
    }
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KHEISH_")}
    done = subprocess.run(
        [sys.executable, "-m", "bench._sweeps", str(count)],
        cwd=processes.ROOT,
        env=kept | told,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _parts() -> dict[str, Callable[[], object]]:
    import django

    django.setup()
    from connectors_app.services.deliveries import targets
    from sessions_app.services import processes as ours
    from sessions_app.services import recovery, retention, shell_tasks

    return {
        "due": recovery.due_sessions,
        "lost_workers": lambda: recovery.bury_dead_workers(ours.host()),
        "expiry": recovery.expire_due,
        "shell_tasks": shell_tasks.stop_settled,
        "deliveries": lambda: list(targets.due(64, besides=set())),
        "retention": retention.purge,
    }


def _taken(part: Callable[[], object], count: int) -> float:
    part()
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        part()
        taken.append(time.perf_counter() - began)
    return round(1000 * at(taken, 0.5), 3)


if __name__ == "__main__":
    print(json.dumps({name: _taken(part, int(sys.argv[1])) for name, part in _parts().items()}))

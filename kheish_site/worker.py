"""``python -m kheish_site.worker [NAME]``: a Celery worker, started without Celery's command line.

It is what ``celery -A kheish_site.celery worker -P threads`` starts, half a second sooner: the command line
loads a shell, a terminal toolkit and colours before it looks at its first option. ``serve`` starts this one.
"""

import os
import sys

from kheish_site.lib import collector

collector.hold_off()
from kheish_site.celery import app  # noqa: E402


def main(name: str) -> int:
    """Work until told to stop; returns the exit code. ``name`` is unique on this machine."""
    worker = app.Worker(
        hostname=f"{name}@%h",
        pool_cls="threads",
        loglevel="WARNING",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if sys.argv[1:] else f"worker-{os.getpid()}"))

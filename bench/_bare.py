"""Bare Celery as a system to measure: its workers, and how a caller waits for an answer."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import redis

from bench import _processes as processes
from bench._service import Bench

PROCESSES: Final = 8
ANSWER_SECONDS: Final = 60
MOST_SESSIONS: Final = 2000
_QUIET: Final = ("-l", "ERROR", "--without-gossip", "--without-mingle")


@contextmanager
def working(bench: Bench, model: str) -> Iterator[tuple[int, Callable[[int], tuple[float, float]]]]:
    """Run workers for as long as the block lasts; gives their process and what does one piece of work.

    The work answers with the seconds until it was accepted and completed.
    """
    told = {"BENCH_REDIS_URL": bench.redis_url, "BENCH_MODEL_URL": bench.model.url}
    os.environ |= told
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-q", "-A", "bench._celery", "worker"]
    with processes.running([*command, "-P", "prefork", "-c", str(PROCESSES), *_QUIET], **told) as pid:
        from bench._celery import call  # it reads the environment

        answers = redis.Redis.from_url(
            bench.redis_url, socket_timeout=ANSWER_SECONDS + 5, max_connections=MOST_SESSIONS
        )

        def one(session: int) -> tuple[float, float]:
            sent = time.monotonic()
            call.delay("note this", model, f"answer-{session}")
            accepted = time.monotonic()
            if answers.brpop([f"answer-{session}"], ANSWER_SECONDS) is None:
                raise TimeoutError("a task did not end")
            return accepted - sent, time.monotonic() - sent

        one(0)
        yield pid, one

"""The service that is measured: its own servers, its own database, a model, and what it all uses."""

import os
import signal
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench import _model
from bench import _processes as processes
from bench._model import Model
from kheish_site.cli.client import Client, path
from kheish_site.demo.stage import OwnService
from kheish_site.testing.servers import DURABLE, servers

PROFILES = ("services", "embedded")
COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top"}
"""PostgreSQL counts its statements: the same for all that is compared."""


@dataclass(frozen=True)
class Bench:
    """A running service with a model behind it."""

    profile: str
    service: OwnService
    model: Model
    database_url: str
    redis_url: str
    shared: tuple[int, ...]
    """Process ids of PostgreSQL and Redis, as far as they are ours."""
    environment: Mapping[str, str]
    """What the service was told."""

    @property
    def client(self) -> Client:
        """The operator's client."""
        return self.service.client

    @property
    def trees(self) -> list[int]:
        """The processes whose use is that of the service."""
        return [self.service.pid, *self.shared]

    @property
    def sqlite(self) -> Path:
        """The database file of the embedded profile."""
        return self.service.state_dir / "kheish.sqlite3"

    def usage(self) -> processes.Usage:
        """Begin to count what the service and its servers use."""
        return processes.Usage(self.trees)

    def pids(self, kind: str) -> list[int]:
        """Return the processes of one kind."""
        return processes.of_kind(kind, self.trees)

    def route(self, *, ms: float = 0, tool: str = "", default: bool = False) -> str:
        """Make a route to the model that takes so long and asks for that tool first; returns its id."""
        route_id = f"bench-{uuid.uuid4().hex[:8]}"
        body = {"driver": "openai", "base_url": self.model.url, "model": _model.name(ms=ms, tool=tool)}
        self.client.request("POST", path("routes"), {"route_id": route_id, "default": default, **body})
        return route_id

    def sessions(self, count: int, **fields: Any) -> list[str]:
        """Make sessions; returns their ids."""
        prefix = uuid.uuid4().hex[:6]
        names = [f"bench-{prefix}-{number}" for number in range(count)]
        for name in names:
            self.client.sessions(name).create(**fields)
        return names

    def settle(self) -> None:
        """Let PostgreSQL look at its tables, as it does by itself every minute: plans need to know sizes."""
        if self.database_url:
            with psycopg.connect(self.database_url, autocommit=True) as connection:
                connection.execute("ANALYZE")

    def warm(self, route: str) -> None:
        """Let the service do one run, so that what is measured is not its first."""
        (session,) = self.sessions(1)
        self.client.sessions(session).input("warm up", route_id=route).wait(timeout_seconds=60)


@contextmanager
def serving(profile: str, settings: Mapping[str, str] | None = None) -> Iterator[Bench]:
    """Run a service of that profile for as long as the block lasts; ``settings`` are variables."""
    with ExitStack() as stack:
        model = stack.enter_context(_model.serving())
        before = processes.children()
        database = redis = ""
        if profile == "services":
            named = stack.enter_context(servers(DURABLE | COUNTING))
            database = stack.enter_context(_database(named["KHEISH_TEST_DATABASE_URL"]))
            redis = named["KHEISH_TEST_REDIS_URL"]
        shared = tuple(sorted(processes.children() - before))
        told = {"KHEISH_LOG_LEVEL": "WARNING", **(settings or {})}
        if database:
            told |= {"KHEISH_DATABASE_URL": database, "KHEISH_REDIS_URL": redis}
        service = stack.enter_context(OwnService(**told))
        yield Bench(profile, service, model, database, redis, shared, told)


@contextmanager
def _database(server: str) -> Iterator[str]:
    """A database of its own, which goes when the measurement is over."""
    name = f"kheish_bench_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    try:
        yield f"{server.rpartition('/')[0]}/{name}"
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Counts:
    """What PostgreSQL was asked to do since this was made; nothing in the embedded profile.

    A commit is a transaction that wrote (they are numbered), a statement is one that is none of the words
    around transactions, a page is one that these looked at, wherever it was. Statements and pages are left
    out where the server does not count them.
    """

    def __init__(self, bench: Bench) -> None:
        self._url = bench.database_url
        self._began = self._now()

    def per(self, runs: int) -> dict[str, float]:
        """Return commits, statements and pages for each of ``runs``."""
        now = self._now()
        return {
            name: round((value - self._began[name]) / max(runs, 1), 2)
            for name, value in now.items()
            if name in self._began
        }

    def _now(self) -> dict[str, float]:
        if not self._url:
            return {}
        with psycopg.connect(self._url, autocommit=True) as connection:
            found = {"commits": _one(connection, _COMMITS)}
            try:
                connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
                statements, pages = connection.execute(_STATEMENTS).fetchone() or (0, 0)
                return found | {"statements": float(statements), "pages": float(pages)}
            except psycopg.Error:
                return found


_COMMITS = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_CONNECTIONS = """
SELECT count(*), count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
_STATEMENTS = """
SELECT coalesce(sum(calls), 0), coalesce(sum(shared_blks_hit + shared_blks_read), 0) FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
AND query !~* '^ *(begin|commit|rollback|savepoint|release|set|show|listen|deallocate)'"""


def _one(connection: "psycopg.Connection[Any]", query: str) -> float:
    row = connection.execute(query.encode()).fetchone()
    return float(row[0]) if row else 0.0


def connections(bench: Bench) -> tuple[int, int]:
    """Return how many connections PostgreSQL has for the service, and how many of them do something."""
    if not bench.database_url:
        return 0, 0
    with psycopg.connect(bench.database_url, autocommit=True) as connection:
        row = connection.execute(_CONNECTIONS).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


@contextmanager
def standing_still(bench: Bench) -> Iterator[None]:
    """Freeze the workers for as long as the block lasts, at a moment when they are in no transaction."""
    workers = bench.pids("worker")
    try:
        _signal(workers, signal.SIGSTOP)
        while _in_transaction(bench):
            _signal(workers, signal.SIGCONT)
            time.sleep(0.1)
            _signal(workers, signal.SIGSTOP)
        yield
    finally:
        _signal(workers, signal.SIGCONT)


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


def _in_transaction(bench: Bench) -> bool:
    """Tell whether anybody is in the middle of a transaction that may hold a lock."""
    time.sleep(0.05)
    if bench.database_url:
        return connections(bench)[1] > 0
    with closing(sqlite3.connect(bench.sqlite, timeout=0.2, isolation_level=None)) as file:
        try:
            file.execute("BEGIN IMMEDIATE")
            file.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
    return False


def say(words: str) -> None:
    """Tell people what is going on."""
    print(words, file=sys.stderr, flush=True)


def median_of(rows: Sequence[Mapping[str, Any]], name: str, **where: object) -> float:
    """Return the median of one column over the rows that fit."""
    found = [row[name] for row in rows if all(row.get(key) == value for key, value in where.items())]
    return float(median(found)) if found else 0.0


def processors() -> int:
    """Return how many processors there are."""
    return os.cpu_count() or 1

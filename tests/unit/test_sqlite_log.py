"""The write-ahead log is copied beside the commits, and never too late."""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kheish_site.lib.sqlite_log import FAR_BEHIND_PAGES, LogKeeper
from kheish_site.settings.databases import SQLITE_PRAGMAS


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "kheish.sqlite3"


@pytest.fixture
def writer(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript(SQLITE_PRAGMAS)
    connection.execute("CREATE TABLE t (a TEXT)")
    yield connection
    connection.close()


def rows_without_log(database: Path) -> int:
    """What the file itself holds, whatever stands in the log beside it."""
    with sqlite3.connect(f"{database.as_uri()}?immutable=1", uri=True) as alone:
        tables = alone.execute("SELECT count(*) FROM sqlite_master WHERE name = 't'").fetchone()[0]
        found = alone.execute("SELECT count(*) FROM t").fetchone()[0] if tables else 0
    alone.close()
    return int(found)


def write(connection: sqlite3.Connection, times: int) -> None:
    for _ in range(times):
        connection.execute("INSERT INTO t VALUES (?)", ["x" * 4000])


def test_no_commit_copies_the_log_until_it_is_far_behind(database: Path, writer: sqlite3.Connection) -> None:
    assert writer.execute("PRAGMA wal_autocheckpoint").fetchone() == (FAR_BEHIND_PAGES,)
    write(writer, 1500)  # more pages than SQLite itself would let the log have
    assert rows_without_log(database) == 0


def test_the_keeper_copies_what_is_committed_while_others_write(
    database: Path, writer: sqlite3.Connection
) -> None:
    write(writer, 100)
    writer.execute("BEGIN IMMEDIATE")
    write(writer, 10)
    LogKeeper(database).copy()
    assert rows_without_log(database) == 100
    writer.execute("COMMIT")
    LogKeeper(database).copy()
    assert rows_without_log(database) == 110


def test_it_keeps_on_and_can_be_stopped(
    database: Path, writer: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kheish_site.lib.sqlite_log.PERIOD_SECONDS", 0.01)
    keeper, copied = LogKeeper(database), threading.Event()
    real = keeper.copy

    def failing_first() -> None:
        if not failed.is_set():
            failed.set()
            raise sqlite3.OperationalError("busy")
        real()
        copied.set()

    failed = threading.Event()
    monkeypatch.setattr(keeper, "copy", failing_first)
    write(writer, 5)
    keeper.start()
    assert copied.wait(10) and rows_without_log(database) == 5
    keeper.stop()
    keeper._thread.join(10)
    assert not keeper._thread.is_alive()

"""What wakes other processes, and what happens when it cannot."""

import shutil
import sqlite3
import tempfile
import threading
import time
from pathlib import Path

import pytest

from kheish_site.lib.sqlite_watch import ChangeWatcher
from sessions_app.services.doorbell import embedded
from sessions_app.services.doorbell.embedded import EmbeddedBell, bind, socket_path
from sessions_app.services.doorbell.live import Delta, decode
from sessions_app.services.doorbell.outage import Outage

DELTA = Delta(session_pk=1, run_pk=2, run_id="r", session_id="s", step=1, attempt=1, index=0, text="hi")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_database(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (n)")
    return connection


def test_a_watcher_hears_other_connections(tmp_path: Path) -> None:
    database = make_database(tmp_path / "d.sqlite3")
    watcher = ChangeWatcher(tmp_path / "d.sqlite3")
    assert not watcher.changed()
    assert not watcher.wait(0.05)
    timer = threading.Timer(0.05, database.execute, ["INSERT INTO t VALUES (1)"])
    timer.start()
    began = time.monotonic()
    assert watcher.wait(5)
    assert time.monotonic() - began < 2
    assert not watcher.changed()
    timer.join()
    database.close()


def test_a_commit_between_two_waits_is_not_missed(tmp_path: Path) -> None:
    database = make_database(tmp_path / "d.sqlite3")
    watcher = ChangeWatcher(tmp_path / "d.sqlite3")
    watcher.changed()
    database.execute("INSERT INTO t VALUES (1)")
    assert watcher.wait(0)
    database.close()


def test_a_file_that_comes_later(tmp_path: Path) -> None:
    watcher = ChangeWatcher(tmp_path / "d.sqlite3")
    assert not watcher.wait(0.05)
    database = make_database(tmp_path / "d.sqlite3")
    assert not watcher.changed()
    database.execute("INSERT INTO t VALUES (1)")
    assert watcher.changed()
    database.close()


def test_close_ends_a_wait(tmp_path: Path) -> None:
    watcher = ChangeWatcher(tmp_path / "d.sqlite3")
    threading.Timer(0.05, watcher.close).start()
    began = time.monotonic()
    assert not watcher.wait(10)
    assert time.monotonic() - began < 3


def test_an_open_watcher_does_not_keep_the_log_from_being_emptied(tmp_path: Path) -> None:
    database = make_database(tmp_path / "d.sqlite3")
    watcher = ChangeWatcher(tmp_path / "d.sqlite3")
    watcher.changed()
    database.execute("INSERT INTO t VALUES (1)")
    watcher.changed()
    busy, _, _ = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    database.close()


def test_a_delta_crosses_the_local_socket(tmp_path: Path) -> None:
    with bind(tmp_path) as receiver:
        EmbeddedBell(tmp_path).delta(DELTA)
        assert decode(receiver.recv(1 << 16)) == DELTA
    assert (tmp_path / "live.sock").stat().st_mode & 0o077 == 0


def test_nobody_listens_or_the_listener_is_behind(tmp_path: Path) -> None:
    bell = EmbeddedBell(tmp_path)
    bell.delta(DELTA)
    receiver = bind(tmp_path)
    began = time.monotonic()
    for _ in range(5000):
        bell.delta(DELTA)
    assert time.monotonic() - began < 3
    receiver.close()
    bell.delta(DELTA)


def test_the_last_to_bind_hears(tmp_path: Path) -> None:
    with bind(tmp_path), bind(tmp_path) as second:
        EmbeddedBell(tmp_path).delta(DELTA)
        assert decode(second.recv(1 << 16)) == DELTA


def test_a_path_too_long_for_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    short = Path(tempfile.mkdtemp(prefix="k-", dir="/tmp"))
    request.addfinalizer(lambda: shutil.rmtree(short))
    monkeypatch.setattr(embedded.tempfile, "gettempdir", lambda: str(short))
    state_dir = tmp_path / ("long" * 30)
    path = socket_path(state_dir)
    assert len(str(path)) < 108
    with bind(state_dir) as receiver:
        EmbeddedBell(state_dir).delta(DELTA)
        assert decode(receiver.recv(1 << 16)) == DELTA
    assert path.parent.stat().st_mode & 0o077 == 0
    path.parent.chmod(0o755)
    with pytest.raises(PermissionError):
        bind(state_dir)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        bind(tmp_path / "gone")


def test_an_outage_is_logged_once_and_costs_one_try_a_pause(caplog: pytest.LogCaptureFixture) -> None:
    clock, tries = Clock(), []
    outage = Outage("the broker", pause_seconds=5, clock=clock)

    def fail() -> None:
        tries.append(clock.now)
        raise ConnectionError("refused")

    for clock.now in (0.0, 1.0, 4.9, 5.0, 6.0, 10.0):
        assert not outage.attempt(fail, (ConnectionError,))
    assert tries == [0.0, 5.0, 10.0]
    assert len(caplog.records) == 1
    clock.now = 20.0
    assert outage.attempt(lambda: None, (ConnectionError,))
    assert outage.attempt(lambda: None, (ConnectionError,))
    assert not outage.attempt(fail, (ConnectionError,))
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2


def test_an_outage_lets_other_errors_through() -> None:
    with pytest.raises(ZeroDivisionError):
        Outage("the broker").attempt(lambda: 1 // 0, (ConnectionError,))

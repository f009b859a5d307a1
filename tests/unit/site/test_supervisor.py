"""The parts of the supervisor, without Django."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kheish_site.supervisor import children, state
from kheish_site.supervisor.options import Refused, read_options
from kheish_site.supervisor.preparation import Preparation
from tests.support.service_process import ROOT, clean_environment

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = """
import os, sys, time
from kheish_site.supervisor.children import Child
child = Child("x", [sys.executable, "-c", "import time; time.sleep(60)"], environment=dict(os.environ))
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


SIGNALLED = """
import os, signal, subprocess, sys
from kheish_site.supervisor.wake import Wake
wake, seen = Wake(), []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
told = "import os, sys, time; [(os.kill(int(sys.argv[1]), 10), time.sleep(0.0003)) for _ in range(6000)]"
teller = subprocess.Popen([sys.executable, "-c", told, str(os.getpid())])
while teller.poll() is None:
    wake.wait(0.0002)
wake.wait(0)
os.kill(os.getpid(), signal.SIGUSR1)
wake.wait(60)  # ended by a signal that came before it
print(len(seen) > 100)
"""


def test_a_wait_is_ended_by_signals_and_never_hangs_on_one():
    """With an event for it, a signal in the wrong moment left the service waiting for itself for ever."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED], cwd=ROOT, capture_output=True, text=True, timeout=50
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr


def test_defaults(monkeypatch):
    for name in [name for name in os.environ if name.startswith("KHEISH_")]:
        monkeypatch.delenv(name)
    read = read_options([])
    assert (read.host, read.port, read.database_url, read.loopback) == ("127.0.0.1", 4000, "", True)
    assert read.state_dir == Path.cwd() / ".kheish"


@pytest.mark.parametrize(
    ("written", "host", "loopback"), [("[::1]:80", "::1", True), ("0.0.0.0:80", "0.0.0.0", False)]
)
def test_addresses(written, host, loopback):
    read = read_options(["--bind", written])
    assert (read.host, read.port, read.loopback) == (host, 80, loopback)


@pytest.mark.parametrize(
    "written", ["", "4000", "host:80", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:٣", "a b:1"]
)
def test_bad_addresses_are_usage_errors(written):
    with pytest.raises(SystemExit) as caught:
        read_options(["--bind", written])
    assert caught.value.code == 2


def test_a_bad_number_names_its_variable(monkeypatch):
    monkeypatch.setenv("KHEISH_DRAIN_SECONDS", "soon")
    with pytest.raises(Refused, match="KHEISH_DRAIN_SECONDS"):
        read_options([])


def test_a_state_folder_serves_one(tmp_path):
    first, second = state.State(tmp_path / "s"), state.State(tmp_path / "s")
    first.take()
    first.announce("http://127.0.0.1:4000")
    with pytest.raises(Refused, match=rf"{os.getpid()} at http://127\.0\.0\.1:4000"):
        second.take()
    first.release()
    second.take()
    second.release()


def test_an_unusable_state_folder_is_explained(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="state folder"):
        state.State(tmp_path / "file" / "below").take()


def test_what_a_database_that_is_away_needs_is_not_known(tmp_path):
    for name in ("kheish.sqlite3", "operator.token", "secret.key"):
        (tmp_path / name).touch()
    preparation = Preparation(tmp_path, "postgresql://127.0.0.1:1/kheish")
    preparation.note()
    assert not preparation.holds()


def test_a_child_is_restarted_at_once_and_then_with_patience():
    child = children.Child("x", [sys.executable, "-c", "raise SystemExit(3)"], environment=os.environ)
    child.start()
    told = []
    deadline = time.monotonic() + 5
    while len(told) < 2 and time.monotonic() < deadline:
        news = child.watch()
        if news:
            told.append(news)
        time.sleep(0.01)
    assert "exit code 3" in told[0]
    assert told[0].endswith("in 0 s.")
    assert told[1].endswith("in 1 s.")


def test_a_stopped_child_leaves_nothing():
    child = children.Child("x", SLEEP, environment=os.environ)
    child.start()
    child.kill_group()
    assert child.exited() == -signal.SIGKILL


def test_children_die_with_a_killed_parent():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 5
    stat = Path(f"/proc/{child}/stat")
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_parent_stays_small():
    heavy = "('django', 'celery', 'asyncio')"
    code = f"import sys, kheish_site.supervisor; print([m for m in {heavy} if m in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_nothing_of_postgresql_is_loaded_with_sqlite(tmp_path: Path):
    code = (
        "import sys, django; django.setup(); import rest_framework.compat\n"
        "print([name for name in sys.modules if name.startswith('psycopg')])"
    )
    environment = clean_environment(
        {"KHEISH_STATE_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "kheish_site.settings"}
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert told.stdout.strip() == "[]"


def test_a_child_that_cannot_be_started_is_started_later(monkeypatch):
    child = children.Child("web", [sys.executable, "-c", ""], environment=dict(os.environ))
    child.start()
    child._process.wait()
    popen, left = subprocess.Popen, [OSError(12, "Cannot allocate memory")]

    def full(*words, **named):
        if left:
            raise left.pop()
        return popen(*words, **named)

    monkeypatch.setattr(children.subprocess, "Popen", full)
    monkeypatch.setattr(children, "LONGEST_WAIT_SECONDS", 0.0)
    assert child.watch() == "The web process cannot be started (Cannot allocate memory); trying again."
    before = child.pid
    child.watch()
    assert child.pid != before and child._process.wait() == 0

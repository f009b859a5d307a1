"""`manage.py serve` from outside: what it makes, says and leaves behind."""

import base64
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from kheish_site.supervisor.service import ROOT_WARNING
from tests.acceptance.conftest import Say
from tests.support import service_process as processes
from tests.support.service import ROOT, Deployment, Service
from tests.support.service_api import Api, call
from tests.support.service_process import kill, until

pytestmark = pytest.mark.slow

WORKER = [sys.executable, "-W", ROOT_WARNING, "-m", "kheish_site.worker"]
RESTART_SECONDS = 3.0
"""Promised on a machine that has nothing else to do."""


def serve(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "serve", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_a_fresh_start_makes_what_is_needed_and_says_it_once(service: Service):
    service.start()
    assert service.ask("GET", "/readyz")[0] == 200
    assert service.ask("GET", "/healthz")[0] == 200
    name, password = service.login
    assert name == "admin"
    assert "manage.py sessions create demo" in service.words()
    assert stat.S_IMODE(service.state_dir.stat().st_mode) == 0o700
    for file in ("operator.token", "secret.key", "master.key"):
        assert stat.S_IMODE((service.state_dir / file).stat().st_mode) == 0o600
    assert service.ask("GET", "/v1/status")[0] == 200
    assert service.stop(signal.SIGINT) == 0
    service.start()
    assert service.words().count(password) == 1
    assert service.stop() == 0


@pytest.mark.embedded_only
def test_a_second_start_on_one_folder_explains(serving: Service):
    second = serve("--state-dir", str(serving.state_dir), "--bind", "127.0.0.1:0")
    assert second.returncode == 1
    assert str(serving.pid) in second.stdout
    assert serving.url in second.stdout
    assert serving.ask("GET", "/readyz")[0] == 200


@pytest.mark.embedded_only
def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = serve("--state-dir", str(tmp_path / "state"), "--bind", address)
    assert refused.returncode == 1
    assert address in refused.stdout


@pytest.mark.embedded_only
def test_a_combination_that_cannot_work_is_refused(tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "KHEISH_REDIS_URL": "redis://127.0.0.1:1/0"}
    refused = serve("--state-dir", str(tmp_path / "state"), "--bind", "127.0.0.1:0", environment=environment)
    assert refused.returncode == 1
    assert "KHEISH_DATABASE_URL" in refused.stderr


@pytest.mark.embedded_only
@pytest.mark.parametrize("part", ["worker", "web"])
def test_a_killed_child_comes_back(serving: Service, part: str):
    before = serving.children()
    kill(before[part])
    until(lambda: serving.children().get(part, before[part]) != before[part], 15, serving.words)
    assert serving.ask("GET", "/readyz")[0] == 200


def test_a_killed_service_is_back_without_preparing_again(own: Deployment, say: Say):
    own.start()
    prepared = own.words().count("Preparing")
    own.kill()
    taken = own.start()
    say(f"ready {taken:.2f} s after the start (promised: {RESTART_SECONDS:g} s)")
    assert own.words().count("Preparing") == prepared
    assert own.stop() == 0


@pytest.mark.embedded_only
def test_a_service_that_stops_says_so(serving: Service):
    mark = serving.state_dir / "draining"
    mark.touch()
    assert serving.ask("GET", "/readyz")[0] == 503
    assert serving.ask("GET", "/healthz")[0] == 200
    mark.unlink()
    assert serving.ask("GET", "/readyz")[0] == 200


@pytest.mark.embedded_only
def test_a_worker_does_not_start_without_its_database(tmp_path):
    nobody = {
        "KHEISH_DATABASE_URL": "postgresql://kheish@127.0.0.1:1/kheish",
        "KHEISH_STATE_DIR": str(tmp_path),
    }
    told = processes.clean_environment(nobody)
    ended = subprocess.run(WORKER, cwd=ROOT, env=told, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert "the worker does not start: " in ended.stderr


@pytest.mark.embedded_only
def test_a_worker_does_not_start_on_a_database_that_nobody_prepared(tmp_path):
    told = processes.clean_environment({"KHEISH_STATE_DIR": str(tmp_path)})
    ended = subprocess.run(WORKER, cwd=ROOT, env=told, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert "the worker does not start: the database lacks" in ended.stderr
    assert "run manage.py prepare" in ended.stderr


def test_a_worker_with_another_audit_key_does_not_start(own: Deployment):
    """Each call that reaches out would fail its run; with the right key it is as if nothing had been."""
    own.start()
    api = Api(own.url, own.token)
    _, run_id = api.start({"tool_calls": [call("bash", command="true")]}, {"text": "done"})
    api.allow(run_id)
    api.until(run_id, "completed")
    right = api.client.get("/v1/runtime/audit-key")["public_key"]
    assert own.stop() == 0
    other = base64.b64encode(os.urandom(32)).decode()
    told = own._environment({"KHEISH_AUDIT_SIGNING_KEY": other, "KHEISH_STATE_DIR": str(own.state_dir)})
    worker = processes.spawn(WORKER, environment=told, output=own.output)
    assert worker.wait(60) == os.EX_CONFIG, own.words()
    assert f"signed with another key ({right[:12]}…)" in own.words()
    assert "Traceback" not in own.words()
    if isinstance(own, Service):
        refused = serve(
            "--state-dir", str(own.state_dir), "--bind", "127.0.0.1:0",
            environment=processes.clean_environment(told),
        )  # fmt: skip
        assert (refused.returncode, "The worker process could not start" in refused.stdout) == (1, True)
        assert right[:12] in refused.stderr
    own.start()
    api = Api(own.url, own.token)
    _, run_id = api.start({"tool_calls": [call("bash", command="true")]}, {"text": "done"})
    api.allow(run_id)
    api.until(run_id, "completed")
    assert own.stop() == 0

"""`manage.py demo`: the whole story, on a service of its own and on somebody else's."""

import os
import re
import subprocess
import sys

import pytest

from tests.support.service import ROOT, Service

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KHEISH_")}
    command = [sys.executable, "manage.py", "demo", "--fast", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=300
    )


def entries(said: str, kind: str) -> int:
    return len(re.findall(rf"^ *\d+  [\d:]+  {re.escape(kind)} ", said, flags=re.MULTILINE))


def test_the_incident_survives_a_sigkill() -> None:
    told = demo()
    assert told.returncode == 0, told.stdout + told.stderr
    for scene in (
        "alert opens the case",
        "SIGKILL",
        "The same run waits for the same approval",
        "INC-4821 closed",
    ):
        assert scene in told.stdout, told.stdout
    assert "rollback number 1" in told.stdout
    assert entries(told.stdout, "approval.requested") == 1
    assert entries(told.stdout, "tool.returned") == 4
    assert re.search(r"\d+ entries, whole; head [0-9a-f]{64}", told.stdout)


def test_a_service_that_belongs_to_somebody_is_not_killed(serving: Service) -> None:
    before = serving.pid
    told = demo(KHEISH_URL=serving.url, KHEISH_STATE_DIR=str(serving.state_dir))
    assert told.returncode == 0, told.stdout + told.stderr
    assert "it is not killed" in told.stdout and "INC-4821 closed" in told.stdout
    assert serving.pid == before and serving.ask("GET", "/readyz")[0] == 200
    again = demo(KHEISH_URL=serving.url, KHEISH_STATE_DIR=str(serving.state_dir))
    assert again.returncode == 0, again.stdout + again.stderr


def test_a_service_that_is_not_there_is_said() -> None:
    told = demo("--base-url", "http://127.0.0.1:9")
    assert told.returncode == 1
    assert "127.0.0.1:9" in told.stderr

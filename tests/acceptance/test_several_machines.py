"""Workers that share nothing but PostgreSQL, Redis and the keys: other names, other folders, no common file.

A machine is told from another by its name and boot, so workers of different names never look for each other's
processes: what they know of each other stands in rows.
"""

import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kheish_site.supervisor.service import ROOT_WARNING
from tests.acceptance.conftest import installed
from tests.support import service_process as processes
from tests.support.service import Deployment, Fleet
from tests.support.service_api import Api, call, moment

pytestmark = [pytest.mark.slow, pytest.mark.services_only]
LEASE_SECONDS = 3.0
_RUNS = 24
_KEYS = {
    "KHEISH_SECRET_KEY": "secret.key",
    "KHEISH_MASTER_KEY": "master.key",
    "KHEISH_AUDIT_SIGNING_KEY": "audit-signing.key",
}
_AS = (
    "import runpy, socket, sys\n"
    "name = sys.argv[1]\n"
    "socket.gethostname = lambda: name\n"
    "runpy.run_module('kheish_site.worker', run_name='__main__')"
)


class Machines(Fleet):
    """A web process on one machine and a worker on each of two others."""

    def _worker(self, environment: Mapping[str, str]) -> Any:
        self._named += 1
        name = f"machine-{self._named}"
        keys = {variable: (self.state_dir / file).read_text().strip() for variable, file in _KEYS.items()}
        told = {**environment, **keys, "KHEISH_STATE_DIR": str(self.state_dir.with_name(name))}
        command = [sys.executable, "-W", ROOT_WARNING, "-c", _AS, name]
        return processes.spawn(command, environment=told, output=self.output)

    def kill_worker(self, name: str) -> None:
        """SIGKILL the worker of one machine."""
        self._crew[int(name.rpartition("-")[2]) - 1].kill()


@pytest.fixture
def machines(prepared: Deployment, tmp_path: Path) -> Iterator[Machines]:
    with installed(prepared, tmp_path, Machines, KHEISH_LEASE_SECONDS=str(LEASE_SECONDS)) as made:
        yield made


def drivers(entries: list[Any], *kinds: str) -> list[str]:
    """Return the machine that did each of these, in order."""
    return [entry["payload"]["worker"].partition(":")[0] for entry in entries if entry["kind"] in kinds]


def test_work_moves_between_machines_by_rows_alone(machines: Machines) -> None:
    machines.start()
    api = Api(machines.url, machines.token)
    slot = f"slot-{uuid.uuid4().hex[:8]}"
    secret = {"slot_id": slot, "provider": "any", "value": f"sesame-{slot}"}
    api.client.request("POST", "/v1/runtime/secrets", secret)
    quick = api.script({"text": "done"}, chunk_delay_ms=20)
    runs = [(session := api.session(), api.submit(session, route_id=quick)) for _ in range(_RUNS)]
    for _, run_id in runs:
        api.until(run_id, "completed")
    did = [drivers(api.journal(session), "run.started")[0] for session, _ in runs]
    assert set(did) == {"machine-1", "machine-2"}, did

    # Asked on one machine, killed there, allowed, and done on the other.
    session, run_id = api.start(
        {"text": "a word " * 40, "chunk_delay_ms": 100, "tool_calls": [call("bash", command="echo over")]},
        {"text": f"{{{{ last_result }}}} sesame-{slot}"},
    )
    api.until_kind(run_id, "run.started")
    (first,) = drivers(api.events(run_id), "run.started")
    machines.kill_worker(first)
    api.allow(run_id)
    done = api.until(run_id, "completed")
    entries = api.journal(session)
    assert drivers(entries, "run.started", "run.recovered")[:2] == [
        first,
        *({"machine-1", "machine-2"} - {first}),
    ]
    assert "over" in done["outputs"][-1]["content"] and "sesame" not in str(entries)
    begun, taken = (
        moment(next(entry for entry in entries if entry["kind"] == kind))
        for kind in ("run.started", "run.recovered")
    )
    assert taken - begun >= LEASE_SECONDS / 2, "nobody can see that a process of another machine is gone"

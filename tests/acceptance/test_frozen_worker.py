"""A worker that is frozen past its lease and thawed: it may not commit one more row.

Two workers are only possible with PostgreSQL and Redis. In the embedded profile nobody can take over, so
the thawed worker meets its own expired lease, must throw its turn away and take the run up again.
"""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import installed
from tests.support.service import SERVICES, Deployment
from tests.support.service_api import Api, call, moment
from tests.support.service_process import state, until

pytestmark = pytest.mark.slow

LEASE_SECONDS = 1.5
APPEND = "echo happened >> effects.txt; cat effects.txt"


@pytest.fixture(scope="module")
def frozen(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An installation with short leases, not started."""
    settings = {"KHEISH_LEASE_SECONDS": str(LEASE_SECONDS), "KHEISH_SWEEP_SECONDS": "0.5"}
    with installed(prepared, tmp_path_factory.mktemp("frozen"), **settings) as deployment:
        yield deployment


def freezing_at(deployment: Deployment, point: str) -> Api:
    """Start with workers of which the first to pass `point` freezes itself."""
    marker = deployment.state_dir.with_name(f"froze-{uuid.uuid4().hex[:8]}")
    deployment.renew(KHEISH_CRASHPOINT=f"{point}:stop", KHEISH_CRASHPOINT_ONCE=str(marker))
    return Api(deployment.url, deployment.token)


def until_frozen(deployment: Deployment) -> int:
    """Process id of the worker that froze itself."""
    stopped = until(
        lambda: [pid for pid in deployment.workers() if state(pid) == "T"], 20, lambda: "nobody froze"
    )
    assert len(stopped) == 1
    return stopped[0]


def thaw(pid: int) -> float:
    """Let it go on, once its lease is certainly over; returns when that was."""
    now = time.time()
    os.kill(pid, signal.SIGCONT)
    return now


def committed(entries: list[dict[str, Any]], worker: int, since: float) -> list[str]:
    """What a worker wrote after `since` in turns it was given before, going by who took the run when."""
    taken = [entry for entry in entries if entry["kind"] in ("run.started", "run.recovered")]
    holder = [entry["payload"]["worker"].split(":")[1] == str(worker) for entry in taken]
    taken_again = [moment(entry) for entry, mine in zip(taken, holder, strict=True) if mine]
    before = [at for at in taken_again if at < since]
    first_new = min((moment(entry) for entry in taken if moment(entry) >= since), default=float("inf"))
    assert before, "the worker never held the run"
    return [entry["kind"] for entry in entries if since <= moment(entry) < first_new]


def test_after_a_model_call_the_answer_of_a_frozen_worker_is_thrown_away(frozen: Deployment):
    api = freezing_at(frozen, "model.after")
    session, run_id = api.start({"text": "answered once", "usage": {"input": 3, "output": 2}})
    worker = until_frozen(frozen)
    if SERVICES:
        api.until(run_id, "completed")
    else:
        time.sleep(LEASE_SECONDS * 1.5)  # the lease must run out: nothing shows it from outside
    thawed = thaw(worker)
    view = api.until(run_id, "completed")
    _takes_work_again(api)
    entries = api.journal(session)
    kinds = [entry["kind"] for entry in entries if entry["run_id"] == run_id]
    assert (kinds.count("run.completed"), kinds.count("message.created")) == (1, 2), kinds
    assert kinds.count("run.recovered") == view["recovered_count"] == 1
    assert view["usage"] == {"input_tokens": 3, "output_tokens": 2}
    assert committed(entries, worker, thawed) == []


def test_after_an_effect_the_result_of_a_frozen_worker_is_not_recorded(frozen: Deployment):
    api = freezing_at(frozen, "tool.returned")
    session, run_id = api.start({"tool_calls": [call("bash", command=APPEND)]}, {"text": "{{ last_result }}"})
    api.allow(run_id)
    worker = until_frozen(frozen)
    if SERVICES:
        api.until(run_id, "waiting_for_operator")
    else:
        time.sleep(LEASE_SECONDS * 1.5)  # as above
    thawed = thaw(worker)
    api.until(run_id, "waiting_for_operator")
    _takes_work_again(api)
    assert "tool.returned" not in api.kinds(run_id)
    assert committed(api.journal(session), worker, thawed) == []
    decision = api.pending("decisions", run_id)
    api.resolve("decisions", decision["decision_id"], outcome="happened", result="it is in the file")
    assert api.until(run_id, "completed")["outputs"][0]["content"] == "it is in the file"
    workspace = Path(api.client.sessions(session).get()["workspace"])
    assert (workspace / "effects.txt").read_text() == "happened\n"


def _takes_work_again(api: Api) -> None:
    """Runs on all sides complete, so whatever the thawed worker wanted to write it has tried by now."""
    for _, run_id in [api.start({"text": "still here"}) for _ in range(6)]:
        api.until(run_id, "completed")

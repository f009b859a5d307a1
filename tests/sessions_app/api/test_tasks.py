"""Shell tasks of a session: listed, read, waited for, stopped."""

import time

import pytest

from kheish_site.lib import clock
from sessions_app.models import RunStatus, TaskOutput
from sessions_app.services import shell_tasks
from tests.factories import code_of
from tests.sessions_app.api.rows import caller, make_run, make_session, make_task, move, stranger

pytestmark = pytest.mark.django_db

BASE = "/v1/sessions/desk/tasks"


def test_the_view() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    task = make_task(
        run, "ok\n", status="failed", exit_code=2, finished_at=clock.now(),
        metadata={"terminal_reason": "daemon_restarted", "recovered_on_boot": True},
    )  # fmt: skip
    view = caller("viewer").get(f"{BASE}/{task.task_id}").json()
    assert (view["task_id"], view["run_id"], view["session_id"]) == (task.task_id, run.run_id, "desk")
    assert (view["command"], view["status"], view["exit_code"]) == ("make test", "failed", 2)
    assert view["metadata"] == {
        "terminal_reason": "daemon_restarted",
        "recovered_on_boot": True,
        "stop_requested": False,
    }
    assert (view["output_size_bytes"], view["output_rotated"]) == (3, False)


def test_list_filters_and_pages() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    other = move(make_run(make_session("other")), RunStatus.RUNNING)
    make_task(other)
    one = make_task(run, status="completed", exit_code=0)
    two = make_task(run)
    client = caller("viewer")
    page = client.get(BASE).json()
    assert [item["task_id"] for item in page["items"]] == [two.task_id, one.task_id]
    live = client.get(f"{BASE}?status=in_progress").json()["items"]
    assert [item["task_id"] for item in live] == [two.task_id]
    assert client.get(f"{BASE}?limit=1").json()["pagination"]["has_more"] is True
    assert client.get(f"{BASE}?status=odd").status_code == 400
    assert client.get("/v1/sessions/nobody/tasks").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_of_a_long_output_the_newest_pieces_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shell_tasks, "KEEP_BYTES", 10)
    monkeypatch.setattr(shell_tasks, "ROTATE_TO_BYTES", 6)
    task = make_task(move(make_run(make_session()), RunStatus.RUNNING))
    watch = shell_tasks._Watch(task)
    said = []
    for piece in ("aaaa", "bbbbbb", "cccc"):
        watch.on_output(piece)
        view = caller("viewer").get(f"{BASE}/{task.task_id}/output?full=true").json()
        kept = (view["task"]["output_size_bytes"], view["task"]["output_rotated"])
        said.append((view["output_text"], view["output_truncated"], *kept))
    assert said == [
        ("aaaa", False, 4, False), ("aaaabbbbbb", False, 10, False), ("cccc", True, 4, True),
    ]  # fmt: skip


def test_output_of_a_finished_task_is_a_success_whatever_its_exit() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    task = make_task(run, "0123456789", status="failed", exit_code=1)
    client = caller("viewer")
    view = client.get(f"{BASE}/{task.task_id}/output?tail_bytes=4").json()
    assert (view["retrieval_status"], view["output_text"], view["output_truncated"]) == (
        "success",
        "6789",
        True,
    )
    assert view["task"]["status"] == "failed"
    assert (view["output_size_bytes"], view["output_total_bytes"]) == (10, 10)
    full = client.get(f"{BASE}/{task.task_id}/output?full=true").json()
    assert (full["output_text"], full["output_truncated"]) == ("0123456789", False)


def test_output_of_a_running_task_is_partial() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    task = make_task(run, "half")
    view = caller("viewer").get(f"{BASE}/{task.task_id}/output").json()
    assert (view["retrieval_status"], view["output_text"]) == ("not_ready", "half")


@pytest.mark.django_db(transaction=True)
def test_waiting_for_a_task_ends_with_the_time() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    task = make_task(run, "half")
    begun = time.monotonic()
    view = caller("viewer").get(f"{BASE}/{task.task_id}/output?wait=true&timeout_ms=300").json()
    assert 0.25 < time.monotonic() - begun < 5
    assert (view["retrieval_status"], view["output_text"]) == ("timeout", "half")


@pytest.mark.parametrize(
    "query",
    ["tail_bytes=0", "tail_bytes=x", "tail_bytes=999999999", "full=maybe", "timeout_ms=-1", "colour=red"],
)
def test_a_bad_query_is_400(query: str) -> None:
    task = make_task(move(make_run(make_session()), RunStatus.RUNNING))
    answer = caller("viewer").get(f"{BASE}/{task.task_id}/output?{query}")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


def test_stop_asks_once_and_leaves_what_ended() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    live, done = make_task(run), make_task(run, status="completed", exit_code=0)
    client = caller()
    first = client.post(f"{BASE}/{live.task_id}/stop", {"reason": "too long"})
    assert (first.status_code, first.json()["status"]) == (200, "in_progress")
    assert first.json()["metadata"]["stop_requested"] is True
    assert first.json()["metadata"]["stop_reason"] == "too long"
    again = client.post(f"{BASE}/{live.task_id}/stop", {"reason": "again"})
    assert again.json() == first.json()
    ended = client.post(f"{BASE}/{done.task_id}/stop", {}).json()
    assert (ended["status"], ended["metadata"]["stop_requested"]) == ("completed", False)


def test_a_secret_in_command_or_output_is_masked() -> None:
    run = move(make_run(make_session()), RunStatus.RUNNING)
    task = make_task(run, "x", command="curl -H 'Authorization: Bearer abcdefghijklmnop'")
    TaskOutput.objects.filter(task=task).update(text="token=abcdefghijklmnop")
    client = caller("viewer")
    for path in (BASE, f"{BASE}/{task.task_id}", f"{BASE}/{task.task_id}/output"):
        assert "abcdefghijklmnop" not in client.get(path).content.decode()


def test_who_may_and_what_is_missing() -> None:
    task = make_task(move(make_run(make_session()), RunStatus.RUNNING))
    make_session("other")
    for path in (BASE, f"{BASE}/{task.task_id}", f"{BASE}/{task.task_id}/output"):
        assert stranger().get(path).status_code == 401
        assert caller("viewer").get(path).status_code == 200
    stop = f"{BASE}/{task.task_id}/stop"
    assert stranger().post(stop, {}).status_code == 401
    assert caller("viewer").post(stop, {}).status_code == 403
    assert caller().post(stop, {"why": 1}).status_code == 400
    for path in ("task_nobody", "task_nobody/output"):
        answer = caller("viewer").get(f"{BASE}/{path}")
        assert (answer.status_code, code_of(answer)) == (404, "task_not_found")
    assert caller().post(f"{BASE}/task_nobody/stop", {}).status_code == 404
    elsewhere = caller("viewer").get(f"/v1/sessions/other/tasks/{task.task_id}")
    assert (elsewhere.status_code, code_of(elsewhere)) == (404, "task_not_found")

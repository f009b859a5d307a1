"""Files that go out with an output: stored once, with the result that sends them, never those of others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sessions_app.engine import loop
from sessions_app.models import Asset, AssetReference, Run, Session, ToolCall
from sessions_app.services import assets, ports, runs, sessions
from sessions_app.services.assets import DeleteBlocked
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.projections import runs as projections
from tests.factories import make_asset, make_client, make_run, make_session
from tests.sessions_app.engine.conftest import call, payloads, submit
from tests.support.engine import Died, check_session, dying_at, expire_lease
from tests.support.files import picture

pytestmark = pytest.mark.django_db(transaction=True)
Drive = Callable[..., Run]
CSV = b"pod,restarts\napi,7\n"


@pytest.fixture
def drive(script: Callable[..., Any], session: Session, heartbeat: Heartbeat) -> Drive:
    """Make a run of the session that emits with these arguments, one call after the other."""

    def play(*emitted: dict[str, Any], **new: Any) -> Run:
        script({"tool_calls": [call("emit_output", **each) for each in emitted]}, {"text": "done"})
        run = submit(session, **new)
        loop.drive(session.pk, heartbeat)
        run = runs.get(run.run_id)
        assert run.status == "completed", run.error
        return run

    return play


@pytest.fixture
def put(session: Session) -> Callable[..., None]:
    """Write a file into the session's workspace."""

    def write(name: str, content: bytes = CSV) -> None:
        (sessions.workspace(session) / name).write_bytes(content)

    return write


def errors(run: Run) -> list[tuple[str, str]]:
    """What came of the calls that failed, as the model was told."""
    return [
        (item["error_code"], item["content"]) for item in payloads(run, "tool.returned") if item["is_error"]
    ]


def test_a_file_of_the_workspace_goes_out(drive: Drive, put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    put("pods.csv")
    heard: list[Any] = []
    monkeypatch.setattr(ports, "_OUTPUTS", [lambda run, output, key: heard.append(output)])
    run = drive({"content": "see", "attachments": [{"path": "pods.csv"}]})
    asset = Asset.objects.get()
    assert assets.read(asset) == CSV
    file = {"asset_id": asset.asset_id, "file_name": "pods.csv", "media_type": "text/csv", "size_bytes": 19}
    output = {
        "source_kind": "emit_output", "content": "see", "parts": [],
        "attachments": [asset.asset_id], "files": [file],
    }  # fmt: skip
    assert run.outputs[0] == heard[0] == payloads(run, "output.emitted")[0] == output
    assert projections.run_view(run)["outputs"][0] == output
    [returned] = payloads(run, "tool.returned")
    assert returned["content"] == "sent with pods.csv (19 bytes)"
    [reference] = AssetReference.objects.all()
    assert (reference.domain, reference.owner_id, reference.parent_id, reference.role, reference.hard) == (
        "run", run.run_id, "desk", "output", True,
    )  # fmt: skip
    with pytest.raises(DeleteBlocked):
        assets.delete(asset.asset_id, principal="alice")


def test_the_api_shows_it(drive: Drive, put: Any) -> None:
    put("pods.csv")
    run = drive({"attachments": [{"path": "pods.csv"}]})
    answer = make_client("viewer").get(f"/v1/runs/{run.run_id}").json()
    [file] = answer["outputs"][0]["files"]
    assert answer["outputs"][0]["attachments"] == [file["asset_id"]] and file["file_name"] == "pods.csv"


def test_a_file_that_came_in_goes_out_again(drive: Drive) -> None:
    asset = make_asset()
    given = [{"asset_id": asset.asset_id}]
    run = drive({"attachments": given}, attachments=given)
    assert run.outputs[0]["attachments"] == [asset.asset_id]
    assert sorted(AssetReference.objects.values_list("role", flat=True)) == ["input", "output"]


def test_a_file_of_an_earlier_run_of_the_session_too(drive: Drive, put: Any) -> None:
    put("pods.csv")
    first = drive({"attachments": [{"path": "pods.csv"}]})
    second = drive({"attachments": [{"asset_id": first.outputs[0]["attachments"][0]}]})
    assert second.outputs[0]["attachments"] == first.outputs[0]["attachments"]
    assert set(AssetReference.objects.values_list("owner_id", flat=True)) == {first.run_id, second.run_id}


def test_a_file_of_another_session_is_refused_as_one_that_is_not_there(drive: Drive, put: Any) -> None:
    put("mine.csv")
    other, loose = make_asset(), make_asset(b"nobody's", "text/plain", "n.txt")
    make_run(make_session("stranger"), attachments=[{"asset_id": other.asset_id}])
    ids = [other.asset_id, loose.asset_id, "asset_00000000000000000000000000"]
    run = drive(*({"attachments": [{"path": "mine.csv"}, {"asset_id": asset_id}]} for asset_id in ids))
    assert errors(run) == [("asset_not_found", f"this session was given no file {found}") for found in ids]
    assert [output["source_kind"] for output in run.outputs] == ["assistant_text"]
    assert not Asset.objects.filter(file_name="mine.csv").exists()
    assert not AssetReference.objects.filter(role="output").exists()


def test_one_file_sent_twice_is_one_asset_and_one_reference(drive: Drive, put: Any) -> None:
    put("a.csv"), put("b.csv")
    run = drive({"attachments": [{"path": "a.csv"}, {"path": "b.csv"}]}, {"attachments": [{"path": "b.csv"}]})
    asset = Asset.objects.get()
    assert [output.get("attachments") for output in run.outputs] == [[asset.asset_id], [asset.asset_id], None]
    assert [output["files"][0]["file_name"] for output in run.outputs[:2]] == ["a.csv", "b.csv"]
    assert AssetReference.objects.count() == 1


def test_what_cannot_be_sent_is_told_to_the_model(drive: Drive, put: Any, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, max_asset_bytes=1024)
    put("large.txt", b"x" * 1025), put("empty.txt", b""), put("odd.bin", b"\x00\x01\x02\xff")
    put("broken.png", picture()[:20]), put("fine.txt", b"fine")
    names = ["large.txt", "empty.txt", "odd.bin", "broken.png"]
    run = drive(*({"attachments": [{"path": "fine.txt"}, {"path": name}]} for name in names))
    told = errors(run)
    assert [code for code, _ in told] == [
        "file_too_large", "asset_content_invalid", "asset_type_unsupported", "asset_content_invalid",
    ]  # fmt: skip
    assert all(name in words for name, (_, words) in zip(names, told, strict=True))
    assert Asset.objects.count() == 0


def test_eleven_files_are_too_many(drive: Drive, put: Any) -> None:
    put("a.csv")
    run = drive({"attachments": [{"path": "a.csv"}] * 11})
    assert errors(run) == [("too_many_attachments", "11 attachments; 10 go with one output")]


def test_a_model_that_says_where_to_is_not_run(drive: Drive) -> None:
    elsewhere = [{"plugin": "http", "address": {"url": "https://elsewhere.example.org"}}]
    run = drive({"content": "psst", "reply_targets": elsewhere}, {"content": "x", "metadata": {"files": []}})
    assert [code for code, _ in errors(run)] == ["arguments_invalid", "arguments_invalid"]
    assert [output["source_kind"] for output in run.outputs] == ["assistant_text"]
    assert not ToolCall.objects.filter(run=run).exclude(state="failed").exists()


@pytest.mark.parametrize("point", ["tool.returned", "tool.settled"])
def test_a_call_that_runs_again_after_a_crash_stores_it_once(
    script: Any, session: Session, put: Any, point: str
) -> None:
    put("pods.csv")
    script({"tool_calls": [call("emit_output", attachments=[{"path": "pods.csv"}])]}, {"text": "done"})
    run = submit(session)
    with dying_at(lambda here: here == point), pytest.raises(Died):
        loop.drive(session.pk, Heartbeat("doomed"))
    assert Asset.objects.count() == (1 if point == "tool.settled" else 0)
    expire_lease(session.pk)
    loop.drive(session.pk, Heartbeat("worker-2"))
    check_session(session.pk)
    run = runs.get(run.run_id)
    assert run.status == "completed", run.error
    assert [len(output.get("files", ())) for output in run.outputs] == [1, 0]
    assert Asset.objects.count() == AssetReference.objects.count() == 1

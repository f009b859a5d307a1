"""Retention: nothing that proves history goes by default; what goes, goes whole."""

import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.transactions import write
from sessions_app.engine import loop
from sessions_app.models import (
    ActionChain,
    Asset,
    AssetReference,
    ExternalAction,
    IdempotencyRecord,
    JournalEntry,
    Run,
    Session,
    ShellTask,
    StoredResult,
    TaskOutput,
    ToolCall,
)
from sessions_app.services import approvals, effects, external_actions, retention, runs, sessions
from sessions_app.services.external_actions import Action
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.principal import Principal
from tests.factories import make_asset
from tests.sessions_app.api.rows import ask_approvals, make_session
from tests.sessions_app.engine.conftest import (
    call,
    heartbeat,
    pending,
    script,
    session,
    submit,
    workspaces,
)
from tests.sessions_app.streams.helpers import in_threads

__all__ = ["heartbeat", "script", "session", "workspaces"]  # fixtures, found by name

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ended(script: Any, session: Session, heartbeat: Heartbeat) -> Session:
    """A session that ended long ago, with an approved command behind it."""
    script({"tool_calls": [call("bash", command="echo x")]}, {"text": "end"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    alice = Principal(name="alice", role="admin", auth_method="token", remote_addr="")
    approvals.resolve(pending(run)[0].approval_id, approvals.Vote(behavior="allow"), principal=alice)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    sessions.end(session.session_id, principal="alice")
    long_ago = clock.now() - timedelta(days=400)
    Session.objects.update(ended_at=long_ago)
    ShellTask.objects.update(finished_at=long_ago)
    return session


def test_by_default_history_stays(ended: Session) -> None:
    gone = retention.purge()
    assert gone["sessions"] == 0 and Session.objects.exists() and JournalEntry.objects.exists()


def test_old_task_output_goes_and_its_task_stays(ended: Session) -> None:
    assert TaskOutput.objects.exists()
    assert retention.purge()["task_outputs"] == 1
    assert not TaskOutput.objects.exists() and ShellTask.objects.exists()


def test_an_ended_session_goes_whole_when_a_time_is_set(ended: Session, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, keep_ended_sessions_days=365)
    live, _ = sessions.create(sessions.NewSession(session_id="live"), principal="alice")
    assert retention.purge()["sessions"] == 1
    assert list(Session.objects.all()) == [live]
    assert not Run.objects.exists() and not ToolCall.objects.exists()
    assert set(JournalEntry.objects.values_list("session__session_id", flat=True)) == {"live"}


@pytest.mark.services_only
def test_a_result_that_is_about_to_be_named_is_not_deleted() -> None:
    _, (approval,) = ask_approvals(make_session("busy"))
    stored = StoredResult.objects.create(sha256=sha256_hex(b"x"), content="x", size_bytes=1)
    held, begun = threading.Event(), threading.Event()

    def name_it() -> None:
        with write():
            found = effects._store("x")
            held.set()
            begun.wait(10)
            time.sleep(0.3)  # the other one stands at the row's lock, or would have deleted it by now
            ToolCall.objects.filter(pk=approval.tool_call_id).update(stored=found)

    def delete_it() -> None:
        held.wait(10)
        with write():
            begun.set()
            retention._stored_results([stored.pk])

    for thread in in_threads(name_it, delete_it):
        thread.join(20)
    assert ToolCall.objects.get(pk=approval.tool_call_id).stored_id == stored.pk
    with write():
        ToolCall.objects.update(stored=None)
        retention._stored_results([stored.pk])
        assert effects._store("x").pk != stored.pk


def test_what_fails_keeps_nothing_else(
    ended: Session, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise ValueError("a bug")

    monkeypatch.setattr(retention.idempotency, "purge", broken)
    settings.KHEISH = replace(settings.KHEISH, keep_ended_sessions_days=365)
    gone = retention.purge()
    assert (gone["answers"], gone["sessions"]) == (0, 1)


def test_old_answers_go(settings: Any) -> None:
    for key, hours in (("old", 169), ("new", 167)):
        record = IdempotencyRecord.objects.create(principal="p", key_digest=key, fingerprint="f", status=200)
        at = clock.now() - timedelta(hours=hours)
        IdempotencyRecord.objects.filter(pk=record.pk).update(created_at=at)
    assert retention.purge()["answers"] == 1
    assert IdempotencyRecord.objects.get().key_digest == "new"


def test_old_answers_go_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once they held SQLite's one writer, and the stream of everything, for seconds."""
    monkeypatch.setattr(retention.idempotency, "PURGED_AT_ONCE", 2)
    for key in "abc":
        IdempotencyRecord.objects.create(principal="p", key_digest=key, fingerprint="f", status=200)
    IdempotencyRecord.objects.update(created_at=clock.now() - timedelta(hours=169))
    for gone, leaves_more in ((2, True), (1, False)):
        purged = retention.purge()
        assert (purged["answers"], retention.leaves_more(purged)) == (gone, leaves_more)


def _signed(session_id: str = "") -> None:
    with write():
        external_actions.record(Action(phase="started", kind="tool", target="bash"), session_id=session_id)


def test_signed_records_outlive_their_session_unless_a_time_is_set(ended: Session, settings: Any) -> None:
    _signed()
    _signed("unscoped")
    settings.KHEISH = replace(settings.KHEISH, keep_ended_sessions_days=365)
    ActionChain.objects.update(at=clock.now() - timedelta(days=800))
    assert retention.purge()["sessions"] == 1
    assert ExternalAction.objects.filter(bucket="desk").count() == 2
    settings.KHEISH = replace(settings.KHEISH, keep_external_actions_days=700)
    assert retention.purge()["action_chains"] == 1
    assert set(ActionChain.objects.values_list("bucket", flat=True)) == {"unscoped", "session/unscoped"}
    assert not ExternalAction.objects.filter(bucket="desk").exists()


def test_signed_records_of_a_session_that_exists_stay(ended: Session, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, keep_external_actions_days=1)
    ActionChain.objects.update(at=clock.now() - timedelta(days=800))
    assert retention.purge()["action_chains"] == 0
    assert ActionChain.objects.filter(bucket="desk").exists()


def test_a_chain_that_was_written_to_lately_stays(settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, keep_external_actions_days=1)
    _signed("gone")
    assert retention.purge()["action_chains"] == 0


def test_a_chain_whose_session_came_back_meanwhile_stays_beside_one_that_goes(settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, keep_external_actions_days=1)
    _signed("back"), _signed("gone")
    ActionChain.objects.update(at=clock.now() - timedelta(days=800))
    found = ActionChain.objects.get(bucket="back")
    make_session("back")
    assert retention._delete_chain(found.pk, 1) == 0
    assert retention.purge()["action_chains"] == 1
    assert ActionChain.objects.get() == found and ExternalAction.objects.get().bucket == "back"


def test_a_session_takes_its_references_along_and_leaves_the_files_to_their_own_time(
    ended: Session, settings: Any
) -> None:
    asset = make_asset()
    Session.objects.update(ended_at=None)
    run = runs.submit(
        ended.session_id, runs.NewRun(attachments=[{"asset_id": asset.asset_id}]), principal="alice"
    )
    runs.cancel(run.run_id, principal="alice")
    long_ago = clock.now() - timedelta(days=400)
    Session.objects.update(ended_at=long_ago)
    Asset.objects.update(touched_at=long_ago)
    assert retention.purge()["assets"] == 0
    settings.KHEISH = replace(settings.KHEISH, keep_ended_sessions_days=365)
    gone = retention.purge()
    assert (gone["sessions"], gone["assets"]) == (1, 1)
    assert not AssetReference.objects.exists()
    assert Asset.objects.get().deleted_at is not None

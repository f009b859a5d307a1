"""Windows: a conversation is compacted before it is too long and when the model says so."""

from collections.abc import Callable
from typing import Any

import pytest

from sessions_app.engine import compaction, context, loop
from sessions_app.models import Checkpoint, JournalEntry, Run, Session
from sessions_app.services import journal, runs
from sessions_app.services.heartbeat import Heartbeat
from tests.sessions_app.engine.conftest import call, payloads, submit

pytestmark = pytest.mark.django_db(transaction=True)
Script = Callable[..., Any]


def test_a_full_window_is_compacted_into_a_checkpoint_and_the_journal_stays(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "noted " + "word " * 400}, context_window=8_000)
    for number in range(16):
        run = submit(session, f"input {number}")
        loop.drive(session.pk, heartbeat)
        assert runs.get(run.run_id).status == "completed"
    assert Checkpoint.objects.filter(session=session).exists()
    folded = context.fold(session.pk)
    assert folded.summary and len(folded.placed) < 20
    assert folded.placed[-1].message.content.startswith("noted")
    kept = int(folded.placed[0].message.content.removeprefix("input "))
    assert folded.compacted == {"input": f"input {kept - 1}", "assistant_messages": 1}
    session.refresh_from_db()
    assert journal.verify(session).whole
    assert JournalEntry.objects.filter(session=session, kind="message.created").count() == 32


def overflowing(script: Script, session: Session, heartbeat: Heartbeat) -> Run:
    """A run that follows four others and whose first call is too long for its model."""
    script({"text": "first"})
    for number in range(4):
        submit(session, f"input {number}")
    loop.drive(session.pk, heartbeat)
    script({"text": "after", "fault": {"kind": "overflow", "times": 1}})
    return submit(session, "too long")


def test_an_overflow_error_compacts_and_asks_again(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    run = overflowing(script, session, heartbeat)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "completed"
    assert payloads(run, "checkpoint.created")[0]["trigger"] == "overflow"


def test_who_asks_the_run_to_stop_before_the_summary_waits_for_none(
    script: Script, session: Session, heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = overflowing(script, session, heartbeat)
    summarise = compaction._summarise

    def stopped(*given: Any) -> str:
        runs.cancel(run.run_id, principal="alice")
        heartbeat.beat()
        return summarise(*given)

    monkeypatch.setattr(compaction, "_summarise", stopped)
    loop.drive(session.pk, heartbeat)
    assert runs.get(run.run_id).status == "cancelled"
    assert not payloads(run, "checkpoint.created")


def test_a_large_result_is_kept_whole_and_shown_in_part(
    script: Script, session: Session, heartbeat: Heartbeat
) -> None:
    from sessions_app.services import sessions

    (sessions.workspace(session) / "big.txt").write_text("start " + "x" * 60_000 + " end")
    script({"tool_calls": [call("read_file", path="big.txt")]}, {"text": "ok"})
    run = submit(session)
    loop.drive(session.pk, heartbeat)
    (told,) = payloads(run, "tool.returned")
    assert told["truncated"] and len(told["content"]) < 31_000
    stored = run.tool_calls.get().stored
    assert stored is not None and stored.sha256 == told["sha256"] and "x" * 60_000 in stored.content

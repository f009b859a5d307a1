"""Journals recorded by earlier code, read by today's: the chain, the conversation and the statuses.

A recording is never made again: when today's code reads one differently, that is a change somebody's
database will feel. ``KHEISH_TEST_RECORD=1`` records scenarios that have no file yet.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kheish_site.cli import chain
from kheish_site.lib.canonical import canonical_json
from sessions_app.engine import context
from sessions_app.models import Checkpoint, JournalEntry, Run, Session
from sessions_app.services import events, journal, sessions
from sessions_app.services.sessions import NewSession
from tests.journals.scenarios import SCENARIOS
from tests.support.engine import check_session, fold_status

pytestmark = pytest.mark.django_db(transaction=True)
HERE = Path(__file__).parent
RECORDED = sorted(HERE.glob("*.json"))
RECORDING = os.environ.get("KHEISH_TEST_RECORD") == "1"


def exported(session: Session) -> dict[str, Any]:
    """Return what a recording holds: the entries as clients see them, and what they meant."""
    runs = dict(Run.objects.filter(session=session).values_list("pk", "run_id"))
    rows = JournalEntry.objects.filter(session=session).order_by("seq")
    return {
        "entries": [events.as_event(row, session.session_id, runs.get(row.run_id or 0)) for row in rows],
        "statuses": dict(Run.objects.filter(session=session).values_list("run_id", "status")),
        "conversation": conversation(session),
    }


def conversation(session: Session) -> list[dict[str, Any]]:
    """Return what a model would read now, as plain JSON; ``images`` only where there are some."""
    messages = [asdict(message) for message in context.fold(session.pk).messages()]
    for message in messages:
        if not message["images"]:
            del message["images"]
    return json.loads(json.dumps(messages, default=dict))


def imported(recording: dict[str, Any]) -> Session:
    """Write the recorded entries as rows, as they were."""
    entries = recording["entries"]
    session = Session.objects.create(
        session_id=entries[0]["session_id"],
        workspace="w",
        next_seq=len(entries) + 1,
        last_hash=entries[-1]["hash"],
    )
    runs = {name: _run(session, name, place) for place, name in enumerate(recording["statuses"], start=1)}
    for entry in entries:
        at, run = datetime.fromisoformat(entry["at"]), runs.get(entry["run_id"])
        JournalEntry.objects.create(
            session=session,
            run_id=run.pk if run else None,
            at=at,
            digest=journal._digest(
                session.session_id,
                entry["run_id"],
                entry["kind"],
                entry["version"],
                at,
                canonical_json(entry["payload"]),
            ),
            **{name: entry[name] for name in ("seq", "kind", "version", "payload", "hash", "prev_hash")},
        )
        if entry["kind"] == "checkpoint.created":
            said = entry["payload"]
            Checkpoint.objects.create(
                session=session, through_seq=said["through_seq"], summary=said["summary"], created_at=at
            )
    return session


def _run(session: Session, run_id: str, position: int) -> Run:
    at = datetime.fromisoformat("2026-01-01T00:00:00Z")
    return Run.objects.create(
        run_id=run_id, session=session, position=position, status="failed", submitted_at=at, updated_at=at
    )


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_a_recorded_journal_means_what_it_meant(file: Path) -> None:
    recording = json.loads(file.read_text())
    outside = chain.verify(recording["entries"], at_least=len(recording["entries"]))
    assert outside.broken_at is None, outside
    session = imported(recording)
    assert journal.verify(session).whole
    assert conversation(session) == recording["conversation"]
    for run in Run.objects.filter(session=session):
        rows = JournalEntry.objects.filter(run_id=run.pk, kind__startswith="run.").order_by("seq")
        told = fold_status(rows.values_list("kind", "payload"))
        assert told == recording["statuses"][run.run_id]


def test_every_scenario_is_recorded() -> None:
    assert RECORDING or {file.stem for file in RECORDED} == set(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_written_today_is_read_today(name: str, script: Callable[..., Any]) -> None:
    session, _ = sessions.create(NewSession(session_id=name), principal="alice")
    SCENARIOS[name](script, session)
    check_session(session.pk)
    session.refresh_from_db()
    written = exported(session)
    file = HERE / f"{name}.json"
    if RECORDING and not file.exists():
        file.write_text(json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    if file.exists():
        recording = json.loads(file.read_text())
        assert [entry["kind"] for entry in written["entries"]] == [
            entry["kind"] for entry in recording["entries"]
        ]
        assert len(written["conversation"]) == len(recording["conversation"])
        assert list(written["statuses"].values()) == list(recording["statuses"].values())

"""Breaking the engine on purpose: deaths at named places, leases that ran out, and what must hold after."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from kheish_site.lib import action_chain
from sessions_app.models import (
    ACTIVE,
    SETTLED,
    TERMINAL,
    WAITING,
    ExternalAction,
    JournalEntry,
    Run,
    RunStatus,
    Session,
    ToolCall,
    ToolCallState,
)
from sessions_app.services import external_actions, journal, outward

CRASHPOINT_MODULES = ("loop", "step", "execute", "suspend", "recover")
LONG_AGO = "2020-01-01T00:00Z"


class Died(BaseException):
    """What SIGKILL looks like from inside: nothing after it runs."""


@contextmanager
def dying_at(wanted: Callable[[str], bool]) -> Iterator[None]:
    """Raise Died at the crash points ``wanted`` says yes to."""

    def crash(here: str) -> None:
        if wanted(here):
            raise Died(here)

    with pytest.MonkeyPatch.context() as patch:
        _pass_by(patch, crash)
        yield


@contextmanager
def failing_at(name: str, *failures: Exception | type[Exception]) -> Iterator[None]:
    """Raise one of ``failures`` after the other each time the engine passes ``name``."""
    left = list(failures)

    def fail(here: str) -> None:
        if here == name and left:
            raise left.pop(0)

    with pytest.MonkeyPatch.context() as patch:
        _pass_by(patch, fail)
        yield


def at_crashpoint(patch: pytest.MonkeyPatch, name: str, action: Callable[[], Any]) -> None:
    """Run ``action`` once, the first time the engine passes ``name``."""
    done: list[str] = []

    def act(here: str) -> None:
        if here == name and not done:
            done.append(here)
            action()

    _pass_by(patch, act)


def _pass_by(patch: pytest.MonkeyPatch, act: Callable[[str], None]) -> None:
    """Call ``act`` with the name of each crash point that the engine passes."""
    for module in CRASHPOINT_MODULES:
        patch.setattr(f"sessions_app.engine.{module}.crashpoint", act)


def expire_lease(session_pk: int) -> None:
    """Let the lease of a session run out now."""
    Session.objects.filter(pk=session_pk).exclude(lease_owner="").update(lease_expires_at=LONG_AGO)


def race(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Run ``work`` in threads that start together; exceptions are results."""
    barrier = Barrier(count)

    def one(number: int) -> Any:
        try:
            barrier.wait(timeout=300)
            return work(number)
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def check_session(session_pk: int) -> None:
    """Assert what must hold of a session between any two commits."""
    session = Session.objects.get(pk=session_pk)
    runs = list(Run.objects.filter(session=session).order_by("position"))
    statuses = [run.status for run in runs]
    verdict = journal.verify(session)
    assert verdict.whole, verdict
    assert session.queued_runs == statuses.count(RunStatus.QUEUED), (session.queued_runs, statuses)
    assert session.blocked == any(status in WAITING for status in statuses), (session.blocked, statuses)
    assert sum(status in ACTIVE for status in statuses) <= 1, statuses
    assert [run.position for run in runs] == list(range(1, len(runs) + 1))
    for run in runs:
        assert folded_status(run) == run.status, (run.run_id, folded_status(run), run.status)
        assert_opaque_effects_once(run)
        assert_ledger_tells_all(run)


def folded_status(run: Run) -> str:
    """Return the status the run's own entries tell."""
    rows = JournalEntry.objects.filter(run_id=run.pk, kind__startswith="run.").order_by("seq")
    return fold_status(rows.values_list("kind", "payload"))


def fold_status(entries: Any) -> str:
    """Fold ``(kind, payload)`` pairs of one run to its status; each move must start where the last ended."""
    status = ""
    for kind, payload in entries:
        if "to" not in payload or kind == "run.stop_requested":
            continue
        assert payload.get("from", status) == status, (kind, payload, status)
        status = payload["to"]
    return status


def assert_opaque_effects_once(run: Run) -> None:
    """An opaque call starts once, and once more for each operator who said that it did not happen."""
    for call in ToolCall.objects.filter(run=run, effect="opaque"):
        entries = JournalEntry.objects.filter(run_id=run.pk, payload__call_id=call.call_id)
        starts = entries.filter(kind="tool.started").count()
        repeats = entries.filter(kind="decision.made", payload__outcome="not_happened").count()
        assert starts <= 1 + repeats, (call.call_id, starts, repeats)


def check_ended(run: Run) -> None:
    """Assert that a run that has ended left nothing open."""
    assert run.status in TERMINAL, run.status
    states = set(run.tool_calls.values_list("state", flat=True))
    assert states <= SETTLED | {ToolCallState.UNKNOWN}, states
    for items in (run.approvals, run.questions, run.decisions):
        assert not items.filter(status="pending").exists()


def assert_ledger_tells_all(run: Run) -> None:
    """Every outward call that began has its started records, and one finished record for each that ended.

    An operator's word is one more; an attempt that runs now, or whose worker is dead, is still open.
    """
    records = ExternalAction.objects.filter(run_id=run.run_id, kind="tool")
    for call in filter(outward.is_outward, ToolCall.objects.filter(run=run)):
        mine = records.filter(tool_call_id=call.call_id)
        judged = mine.filter(grant_id__startswith="decision:").count()
        ended = mine.filter(phase="finished").count() - judged
        started = mine.filter(phase="started").count()
        assert started == call.attempt, (call.call_id, started, call.attempt)
        assert ended == started - (call.state == ToolCallState.STARTED), (call.call_id, call.state, ended)
    lines = (line.encode() for line in external_actions.export(run.session.session_id))
    verdict = action_chain.verify(lines, external_actions.public_key())
    assert verdict.valid, verdict.problems


def waiting_backends() -> int:
    """Return how many connections to this PostgreSQL database wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # or this transaction sees what it saw before
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])

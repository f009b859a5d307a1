"""What must hold of one world of the simulator when all has ended: by rows, journal, ledger and target.

Everything is read once. What the journals say is judged by the invariants of the torture itself; the rest is
about rows, which the torture cannot see, and about tools that only the simulator has.
"""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.db import connection

from kheish_site.lib import action_chain, clock
from kheish_site.lib.canonical import digest
from sessions_app.models import SETTLED, TERMINAL, ToolCallState
from sessions_app.services import external_actions, journal, recovery
from sessions_app.services.outward import OUTWARD_EFFECTS
from tests.torture import invariants
from tests.torture.evidence import Entry, Evidence, ToolCall
from tests.torture.invariants import Judgement
from tests.torture.simulated import TARGET, World

JUDGED_BY: Final = (
    invariants.one_active_run_per_session, invariants.journals_are_dense_and_chained,
    invariants.the_fold_equals_the_rows, invariants.nobody_writes_after_losing_the_lease,
    invariants.only_the_approved_call_runs, invariants.decided_once_by_whoever_was_first,
)  # fmt: skip
_SESSIONS: Final = """
SELECT id, session_id, queued_runs, blocked, lease_owner FROM sessions_app_session ORDER BY id"""
_RUNS: Final = (
    "SELECT id, run_id, session_id, position, status FROM sessions_app_run ORDER BY session_id, position"
)
_ENTRIES: Final = """
SELECT session_id, seq, run_id, kind, version, payload, prev_hash, hash, at FROM sessions_app_journalentry
ORDER BY session_id, seq"""
_CALLS: Final = """
SELECT call_id, tool_name, effect, state, attempt, permission FROM sessions_app_toolcall"""
_RECORDS: Final = """
SELECT tool_call_id, phase, grant_id LIKE 'decision:%%' FROM sessions_app_externalaction
WHERE kind = 'tool'"""
_PENDING: Final = """
SELECT (SELECT count(*) FROM sessions_app_approval WHERE status = 'pending')
+ (SELECT count(*) FROM sessions_app_userquestion WHERE status = 'pending')
+ (SELECT count(*) FROM sessions_app_operatordecision WHERE status = 'pending')"""


def judge(world: World) -> Counter[str]:
    """Judge a world that has ended; returns how often each kind of entry is in it. Raises: AssertionError."""
    sessions, runs = _read(_SESSIONS), _read(_RUNS)
    for _, name, queued, blocked, owner in sessions:
        assert (queued, blocked, owner) == (0, False, ""), (name, queued, blocked, owner)
    assert [run[1] for run in sorted(runs)] == world.runs
    places: Counter[int] = Counter()
    for _, run_id, session, position, status in runs:
        places[session] += 1
        assert position == places[session], (run_id, position)
        assert status in TERMINAL, (run_id, status)
    assert _read(_PENDING) == [(0,)], "something waits in a run that has ended"
    assert recovery.due_sessions() == []
    evidence = _evidence(world, sessions, runs)
    for each in JUDGED_BY:
        judgement = Judgement(each.__name__, "")
        each(evidence, judgement)
        assert not judgement.violations, (judgement.name, judgement.violations[:3])
    _check_ledger(world, evidence)
    return Counter(entry["kind"] for entries in evidence.journals.values() for entry in entries)


def _read(query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        return list(cursor.execute(query, ()).fetchall())


def _evidence(world: World, sessions: list[tuple[Any, ...]], runs: list[tuple[Any, ...]]) -> Evidence:
    """Read the journals as the API shows them, with the service's own verdict on each."""
    names, ids = {pk: name for pk, name, *_ in sessions}, {pk: run_id for pk, run_id, *_ in runs}
    journals: dict[str, list[Entry]] = {name: [] for name in names.values()}
    for session, seq, run, kind, version, payload, prev_hash, hashed, at in _read(_ENTRIES):
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
        journals[names[session]].append({
            "session_id": names[session], "seq": seq, "run_id": ids.get(run), "kind": kind,
            "version": version, "payload": json.loads(payload), "prev_hash": prev_hash, "hash": hashed,
            "at": clock.rfc3339(moment.replace(tzinfo=UTC)),
        })  # fmt: skip
    verdicts = {}
    for session in world.sessions:
        session.refresh_from_db(fields=("next_seq", "last_hash"))
        found = journal.verify(session)
        verdicts[found.session_id] = {"valid": found.whole, "entries": found.entries}
    nothing: list[Any] = []
    return Evidence(
        folder=Path(), runs=[{"run_id": run_id, "status": status} for _, run_id, _, _, status in runs],
        journals=journals, verdicts=verdicts, deliveries=nothing, workspaces={}, oracles={}, inputs=nothing,
        decisions=world.decided, events=nothing, faults=nothing, streams=nothing,
    )  # fmt: skip


def _check_ledger(world: World, evidence: Evidence) -> None:
    """Every call against its own entries, its records of external actions, and what its target saw."""
    told = {call.call_id: call for call in evidence.calls}
    records: dict[str, Counter[str]] = defaultdict(Counter)
    for call_id, phase, judged in _read(_RECORDS):
        records[call_id]["judged" if judged else phase] += 1
    for call_id, name, effect, state, attempt, permission in _read(_CALLS):
        assert state in SETTLED | {ToolCallState.UNKNOWN}, (call_id, state)
        starts = len(told[call_id].of("tool.started"))
        if effect == "opaque":
            assert starts <= 1 + told[call_id].repeats_allowed, (call_id, "started", starts)
        if name.startswith("sim_"):
            recorded = attempt if effect in OUTWARD_EFFECTS else 0
            found = records[call_id]["started"], records[call_id]["finished"]
            assert found == (recorded, recorded), (call_id, attempt, records[call_id])
            _check_call(told[call_id], state, json.loads(permission), starts)
    for bucket in {session.session_id for session in world.sessions}:
        lines = (line.encode() for line in external_actions.export(bucket))
        verdict = action_chain.verify(lines, external_actions.public_key())
        assert verdict.valid, verdict.problems


def _check_call(call: ToolCall, state: str, permission: dict[str, Any], starts: int) -> None:
    """What happened outside is what was started, approved and told."""
    did = TARGET.effects.get(call.call_id, [])
    assert len(did) <= starts, (call.call_id, call.name, "happened and started", len(did), starts)
    if state == "succeeded":
        assert did, (call.call_id, call.name, "succeeded and never happened")
    if permission.get("decision") == "ask":
        approved = {e["payload"]["digest"] for e in call.of("approval.allowed")}
        allowed = {
            a["what"] for a in call.versions if digest({"tool": call.name, "arguments": a}) in approved
        }
        assert set(did) <= allowed, (call.call_id, "never approved", did, allowed)
    if call.name == "sim_idempotent":
        assert len(TARGET.keys.get(call.call_id, ())) <= 1, (call.call_id, "came under several keys")

"""Bugs put in on purpose, one at a time: each must turn an invariant red, or the judgement proves nothing.

A bug is a patch of the loaded service, made in the process from which all others of a torture are forked, and
nowhere else: the service's own code knows nothing of it.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from tests.torture.report import commit
from tests.torture.schedule import Life, Profile, Role

BUGS: dict[str, "Bug"] = {}
MOST_TORTURES: Final = 4
FEWEST_RUNS: Final = 60
SEED_STEP: Final = 1000
_LONGEST_TOLD: Final = 160
MEANING: Final = """Each bug is put into the service alone, which is then tortured until an invariant
that is named for this bug is red: "red" are these, "tortures" is how many it took, of at most four."""


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One bug: what it does to the code, what is done to the service so that it shows, who must notice."""

    name: str
    what: str
    caught_by: tuple[str, ...]
    install: Callable[[], None]
    lives: Mapping[Role, Sequence[Life]] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    seconds: float = 14.0


def bug(*caught_by: str, **more: Any) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Put a function that installs a bug among those that are proved; its docstring says what it does."""

    def keep(install: Callable[[], None]) -> Callable[[], None]:
        what = (install.__doc__ or "").splitlines()[0]
        BUGS[install.__name__] = Bug(
            name=install.__name__, what=what, caught_by=caught_by, install=install, **more
        )
        return install

    return keep


def install(name: str) -> None:
    """Put one bug into the service that this process has loaded."""
    BUGS[name].install()


def _patch(module: str, **attributes: Any) -> None:
    found = import_module(module)
    for name, value in attributes.items():
        if not hasattr(found, name):
            raise AttributeError(f"{module} has no {name}: the bug would do nothing")
        setattr(found, name, value)


def _dying(role: Role, *points: str) -> dict[Role, Sequence[Life]]:
    return {role: [Life(role=role, ending="point", point=point, seconds=8.0) for point in points]}


_FROZEN: Final[dict[Role, Sequence[Life]]] = {
    "worker": [
        Life(role="worker", ending="freeze", point="model.after", seconds=6.0),
        Life(role="worker", ending="kill", seconds=9.0),
        Life(role="worker", ending="kill", seconds=9.0),
    ]
}
_ACTS: Final = ("act", "twice")
"""Only calls that act outside: whoever dies at a call dies at one of these, and what is edited is one."""
_SAYS: Final = ("say", "say", "plain")
"""Much is said to targets."""
_WEB_DIES: Final[dict[Role, Sequence[Life]]] = {
    "web": [Life(role="web", ending="point", point="request.done", skip=5, seconds=8.0)]
}


@bug("nobody_writes_after_losing_the_lease", "the_fold_equals_the_rows", lives=_FROZEN, seconds=30.0)
def fence_dropped() -> None:
    """Writes are neither fenced nor guarded by the state they expect: a thawed worker goes on as before."""
    from sessions_app.services.heartbeat import Hold
    from sessions_app.services.writes import portable, postgres

    guard, moved, check = postgres._guard, postgres._moved, portable._check_guard

    def unguarded(*given: Any) -> str:
        found = moved(*given)
        assert " AND r.status = %(was)s" in found
        return found.replace(" AND r.status = %(was)s", "")

    _patch("sessions_app.services.writes.postgres", _guard=lambda c: "true" if c.lease else guard(c))
    _patch("sessions_app.services.writes.postgres", _moved=unguarded)
    _patch(
        "sessions_app.services.writes.portable",
        _check_guard=lambda row, change, now: None if change.lease else check(row, change, now),
    )
    Hold.lose = lambda self: None  # type: ignore[method-assign]


@bug(
    "accepted_inputs_are_runs",
    lives=_WEB_DIES, seconds=30.0,
)  # fmt: skip
def answered_before_the_commit() -> None:
    """A submission is answered 202 while its transaction is still open."""
    from django.db import connection

    from sessions_app.api.views import runs as views

    real = views.once

    def early(request: Any, work: Callable[[], Any], **more: Any) -> Any:
        done, answer = threading.Event(), []

        def slowly() -> Any:
            answer.append(work())
            done.set()
            time.sleep(0.4)
            return answer[0]

        def whole() -> None:
            try:
                real(request, slowly, **more)
            finally:
                done.set()
                connection.close()

        thread = threading.Thread(target=whole, daemon=True)
        thread.start()
        done.wait()
        return answer[0] if answer else real(request, work, **more)

    _patch("sessions_app.api.views.runs", once=early)


@bug(
    "all_settles_when_the_faults_are_over", "every_run_ends_or_waits",
    faults=("redis_flush",), lives={"worker": [Life(role="worker", ending="kill", seconds=1.0)]},
)  # fmt: skip
def work_found_by_doorbells_alone() -> None:
    """Nothing looks for work whose doorbell was lost."""
    _patch(
        "sessions_app.services.recovery", _READY="SELECT id FROM sessions_app_session WHERE false LIMIT %s"
    )


@bug(
    "all_settles_when_the_faults_are_over", "every_run_ends_or_waits",
    lives=_WEB_DIES,
)  # fmt: skip
def rung_before_the_commit() -> None:
    """Workers are woken before the commit they are woken for, and only by that."""
    work_found_by_doorbells_alone()
    from sessions_app.services.doorbell.bells import bell

    _patch("sessions_app.services.wake", ring_workers=lambda session_pk: bell().ring_workers(session_pk))


@bug("decided_once_by_whoever_was_first", plans=("act", "ask"))
def decided_again() -> None:
    """Nobody looks whether it was decided already, and what is settled is not guarded by its state."""
    from sessions_app.models import Run, ToolCall
    from sessions_app.services.writes import Advance

    def unlocked(item: Any) -> Run:
        item.status = "pending"
        return Run.objects.select_related("session").get(pk=item.run_id)

    def anyhow(call: ToolCall, to: Any, **fields: Any) -> Advance:
        made = Advance(call=call, was=call.state, changes={"state": to, **fields})
        for name, value in made.changes.items():
            setattr(call, name, value)
        return made

    def unguarded(advance: Advance) -> None:
        ToolCall.objects.filter(pk=advance.call.pk).update(**advance.changes)

    _patch("sessions_app.services.waiting", lock=unlocked)
    _patch("sessions_app.services.effects", _advanced=anyhow, _keep=unguarded)


@bug("only_the_approved_call_runs", plans=_ACTS, seconds=25.0)
def digest_check_skipped() -> None:
    """An edited call keeps its planned arguments, and the executor compares nothing."""
    from sessions_app.services import effects

    def keep_planned(approval: Any, voters: list[str]) -> None:
        call = approval.tool_call
        approved = {
            "approval_id": approval.approval_id,
            "approved_digest": call.digest,
            "approved_by": voters,
        }
        effects.advance(call, "planned", permission=call.permission | approved)

    _patch("sessions_app.services.approvals", _approve_call=keep_planned)
    _patch("sessions_app.engine.execute", _not_the_approved_call=lambda call: None)


@bug("only_the_approved_call_runs", plans=_ACTS)
def nobody_is_asked() -> None:
    """Calls that need an approval run without one."""
    from sessions_app.engine import suspend

    _patch("sessions_app.engine.suspend", _needs_person=lambda call: suspend._is_question(call))
    _patch("sessions_app.engine.execute", _not_the_approved_call=lambda call: None)


@bug("streams_equal_the_journal")
def streamed_from_memory() -> None:
    """A stream shows what comes while somebody is connected, and never reads what was missed."""
    from sessions_app.streams.subscription import Subscription

    Subscription.lags = property(lambda self: False)  # type: ignore[assignment]


@bug("no_message_shows_twice", plans=_SAYS)
def sent_again_blindly() -> None:
    """An answer whose fate is not known is sent again, also where nobody recognises a repeat."""
    _patch("connectors_app.services.deliveries.send", honours_keys=lambda target: True)


@bug("one_run_per_event", "accepted_inputs_are_runs")
def events_forgotten() -> None:
    """No receipt is kept of an event."""
    _patch(
        "connectors_app.services.ingress", seen=lambda *given: None, _keep_receipt=lambda *given: None
    )  # fmt: skip


@bug("accepted_inputs_are_runs")
def keys_forgotten() -> None:
    """No answer is kept for an idempotency key."""
    _patch("sessions_app.services.idempotency", begin=lambda claim: None, finish=lambda *given, sealed: None)


@bug("one_active_run_per_session", plans=(*_ACTS, "ask"), seconds=20.0)
def newest_run_first() -> None:
    """The newest run of a session is driven first, beside one that waits."""
    from django.db import connection

    from sessions_app.models import LIVE, Run

    def newest(session_pk: int) -> Run | None:
        rows = Run.objects.select_related("session", "persona__persona")
        return rows.filter(session_id=session_pk, status__in=sorted(LIVE)).order_by("-position").first()

    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS run_one_active")
    connection.close()
    if connection.vendor == "postgresql":
        connection.close_pool()  # its threads would be missing in every fork
    _patch("sessions_app.services.runs", head=newest)


@bug("journals_are_dense_and_chained")
def chain_forgotten() -> None:
    """Entries do not hold the hash of the one before."""
    from sessions_app.services.writes import postgres

    chained = postgres._CHAINED.replace("held.last_hash, held", "repeat('0', 64), held")
    assert chained != postgres._CHAINED
    _patch("sessions_app.services.writes.postgres", _CHAINED=chained)
    _patch("sessions_app.services.writes.portable", sha256_hex=lambda text: "0" * 64)


@bug("opaque_effects_happen_at_most_once", lives=_dying("worker", "tool.returned"), plans=_ACTS, seconds=25.0)
def intent_after_the_effect() -> None:
    """``started`` is committed with the result, not before the call leaves."""
    from sessions_app.engine import execute

    begin, results = execute.commit_started, execute._commit_results
    held_back: dict[str, Any] = {}

    def later(turn: Any, advances: list[Any]) -> None:
        held_back.update({advance.call.call_id: advance for advance in advances})

    def both(turn: Any, found: list[Any], *, opens_next: bool) -> None:
        begin(turn, [held_back.pop(call.call_id) for call, *_ in found if call.call_id in held_back])
        results(turn, found, opens_next=opens_next)

    _patch("sessions_app.engine.execute", commit_started=later, _commit_results=both)


@bug("opaque_effects_happen_at_most_once", lives=_dying("worker", "tool.returned"), plans=_ACTS, seconds=25.0)
def opaque_run_again() -> None:
    """What a dead worker had started is started again, whatever it is."""
    _patch("sessions_app.engine.recover", _mark_unknown=lambda turn, call: None)


@bug("opaque_effects_happen_at_most_once", lives=_dying("worker", "tool.started"), plans=_ACTS, seconds=25.0)
def unknown_taken_for_success() -> None:
    """What a dead worker had started counts as done."""
    from sessions_app.engine import recover
    from sessions_app.tools.base import ToolResult

    _patch(
        "sessions_app.engine.recover",
        _mark_unknown=lambda turn, call: recover._record(turn, call, ToolResult(content="surely done")),
    )


@bug("no_secret_anywhere", seconds=25.0)
def nothing_is_masked() -> None:
    """The funnel lets every secret through."""
    from kheish_site.lib import redaction

    redaction.Redactor.value = lambda self, value: value  # type: ignore[method-assign]
    redaction.Redactor.text = lambda self, text: text  # type: ignore[method-assign]


@bug("targets_get_their_order", plans=_SAYS, seconds=25.0)
def newest_delivery_first() -> None:
    """A target gets the newest answer first."""
    from connectors_app.services.deliveries import targets

    queue = targets.queue
    _patch("connectors_app.services.deliveries.targets", queue=lambda pk: queue(pk).order_by("-id"))


def prove(names: Sequence[str], *, seed: int, profile: Profile, report: str = "") -> int:
    """Torture with each bug; 0 when each was noticed by an invariant that it is to be noticed by.

    ``report`` is a file that the table is written to as well.
    """
    from tests.torture import harness

    unknown = sorted(set(names) - BUGS.keys())
    if unknown:
        print(f"no such bug: {', '.join(unknown)}; there are: {', '.join(BUGS)}", file=sys.stderr)
        return 2
    chosen = [BUGS[name] for name in names] or list(BUGS.values())
    began = time.monotonic()
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    say(f"seed {seed}, commit {commit()}, profile {profile}")
    say(f"{'':7} {'bug':30} {'runs':>5} {'kills':>5} {'seconds':>7} {'tortures':>8}  red")
    with harness.prepared(profile) as ground:
        missed = [bug.name for bug in chosen if not _is_caught(bug, seed, ground, say)]
    told = f"missed: {', '.join(missed) or 'none'}"
    say(f"{len(chosen)} bugs, {len(chosen) - len(missed)} caught, {told}; {time.monotonic() - began:.0f} s")
    if report:
        again = " ".join(["manage.py torture --seed", str(seed), "--profile", profile, "--bugs", *names])
        table = "\n".join(lines)
        title = f"# Seeded bugs, profile {profile}, seed {seed}"
        made = f"Made by `python3 {again}` at commit {commit()}."
        Path(report).write_text(f"{title}\n\n{made}\n\n{MEANING}\n\n```text\n{table}\n```\n")
    return 1 if missed else 0


def _is_caught(bug: Bug, seed: int, ground: Any, say: Callable[[str], None]) -> bool:
    """Torture with one bug until an invariant named for it is red, at most ``MOST_TORTURES`` times."""
    from tests.torture import harness

    began, runs, kills, done = time.monotonic(), 0, 0, 0
    caught, others, troubles = [], [], []  # type: ignore[var-annotated]
    for turn in range(MOST_TORTURES):
        order = harness.Order(
            seed=seed + turn * SEED_STEP, profile=ground.profile, wanted=None, seconds=bug.seconds,
            limit=bug.seconds + 60, runs=FEWEST_RUNS, command=f"manage.py torture --bugs {bug.name}",
            bug=bug.name, lives=bug.lives, faults=bug.faults, plans=bug.plans,
        )  # fmt: skip
        done += 1
        try:
            report = harness.torture(order, ground)
        except (RuntimeError, OSError) as error:  # a service that cannot even be set up shows nothing
            troubles.append(str(error)[-300:])
            continue
        runs, kills = runs + sum(report.runs.values()), kills + sum(report.kills.values())
        troubles += report.failures[:2]
        caught = [name for name in report.red if name in bug.caught_by]
        others = [each for each in report.judgements if each.violations and each.name not in bug.caught_by]
        if caught:
            break
    seconds = time.monotonic() - began
    counts = f"{runs:5} {kills:5} {seconds:7.0f} {done:8}"
    say(f"{'caught' if caught else 'MISSED':7} {bug.name:30} {counts}  {', '.join(caught) or '-'}")
    say(f"{'':7} {bug.what}")
    for each in others:
        say(f"{'':7} also red: {each.name}: {each.violations[0][:_LONGEST_TOLD]}")
    if troubles:
        say(f"{'':7} {troubles}")
    return bool(caught)

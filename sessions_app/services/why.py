"""Why does a run not move? One sentence with what it waits for, for every run, and what it does if it moves.

The same answer for the page, the API and the command line. ``because`` is the chain of what it waits for,
nearest first: a queued run waits for the head of its session, and that for a person, a route or a worker.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from kheish_site.lib import clock
from kheish_site.lib.redaction import redact
from sessions_app.models import LIVE, WAITING, Run, RunStatus, StepStatus
from sessions_app.services import runs, status
from sessions_app.services.projections.open_items import Open
from sessions_app.services.projections.shape import call_summary, one_line
from sessions_app.services.why_rows import Facts, read

State = Literal["moving", "waiting", "ended"]
_VERBS: Final = {
    "approval": "Allow or deny it: approvals allow {0}, or approvals deny {0}",
    "question": "Answer it: questions answer {0}",
    "decision": "Look at what it touched, then say what happened: decisions decide {0}",
}
_ABOUT: Final = {"approval": "approval", "question": "an answer to", "decision": "an operator's word on"}
_PATIENCE: Final = timedelta(minutes=1)
_START: Final = "Start a worker: python3 manage.py serve"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One thing that is waited for. ``kind`` and ``item_id`` name its page; ``since`` is when it began."""

    kind: str
    item_id: str
    sentence: str
    since: datetime | None = None

    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "kind": self.kind,
            "id": self.item_id,
            "sentence": self.sentence,
            "since": clock.rfc3339(self.since),
        }


@dataclass(frozen=True, kw_only=True)
class Why:
    """The answer for one run. ``code`` is stable; ``next`` says how to go on, "" where nothing helps."""

    run_id: str
    state: State
    code: str
    sentence: str
    since: datetime | None
    because: tuple[Cause, ...] = ()
    next: str = ""

    def view(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "run_id": self.run_id,
            "state": self.state,
            "code": self.code,
            "sentence": self.sentence,
            "since": clock.rfc3339(self.since),
            "because": [cause.view() for cause in self.because],
            "next": self.next,
        }


def of(run_id: str) -> Why:
    """Return the answer for one run. Raises: RunMissing."""
    run = runs.get(run_id)
    return of_all([run])[run.pk]


def of_all(rows: Iterable[Run]) -> dict[int, Why]:
    """Return the answers for runs that were read with their sessions, by row id.

    The number of queries is fixed, however many runs there are (``why_rows``).
    """
    found = list(rows)
    facts = read(found)
    return {run.pk: _why(run, facts) for run in found}


def _why(run: Run, facts: Facts) -> Why:
    if run.status not in LIVE:
        return _ended(run)
    head = facts.head_of(run)
    if head.pk == run.pk:
        return _of_head(run, facts)
    return _behind(run, head, facts)


def _ended(run: Run) -> Why:
    why = str(run.error.get("message") or run.error.get("code") or "")
    told = f": {redact(why)}" if why and run.status != RunStatus.COMPLETED else ""
    return Why(
        run_id=run.run_id,
        state="ended",
        code=run.status,
        sentence=f"It has ended: {run.status}{told}.",
        since=run.finished_at,
    )


def _behind(run: Run, head: Run, facts: Facts) -> Why:
    place = facts.places[run.pk].ahead
    first = _of_head(head, facts)
    cause = Cause(kind="run", item_id=head.run_id, sentence=first.sentence, since=first.since)
    since = run.updated_at if run.started_at else run.submitted_at
    return Why(
        run_id=run.run_id,
        state="waiting",
        code="behind_run",
        sentence=f"It is {_nth(place)} in line behind {head.run_id} in session {run.session.session_id} "
        f"for {_span(facts, since)}. {_said_of_head(first)}",
        since=since,
        because=(cause, *first.because),
        next=first.next or f"It begins by itself; see runs why {head.run_id}",
    )


def _said_of_head(first: Why) -> str:
    known = first.sentence.removeprefix("It ")
    return f"That run {known}" if known != first.sentence else first.sentence


def _of_head(run: Run, facts: Facts) -> Why:
    """Return the answer for a run that nothing of its session holds up."""
    if run.status in WAITING:
        return _for_people(run, facts)
    if stopped := _no_worker(run, facts):
        return stopped
    if run.status == RunStatus.RUNNING:
        return _running(run, facts)
    return _due(run, facts)


def _for_people(run: Run, facts: Facts) -> Why:
    items = facts.open.get(run.pk, [])
    if not items:  # settled since the run was read, or a budget
        return Why(
            run_id=run.run_id,
            state="waiting",
            code=run.status,
            sentence=f"It is {run.status.replace('_', ' ')}.",
            since=run.updated_at,
        )
    first = items[0]
    more = f", and {len(items) - 1} more" if len(items) > 1 else ""
    return Why(
        run_id=run.run_id,
        state="waiting",
        code=run.status,
        sentence=f"It waits for {_named(first)} for {_span(facts, first.since)}{more}.{_until(first, facts)}",
        since=first.since,
        because=tuple(_cause(item, facts) for item in items),
        next=_VERBS[first.kind].format(first.item_id),
    )


def _named(item: Open) -> str:
    return f"{_ABOUT[item.kind]} {item.item_id} ({item.about})"


def _cause(item: Open, facts: Facts) -> Cause:
    votes = f" It has {item.votes[0]} of {item.votes[1]} votes." if item.votes[1] > 1 else ""
    sentence = f"Waits for {_named(item)} for {_span(facts, item.since)}.{votes}{_until(item, facts)}"
    return Cause(kind=item.kind, item_id=item.item_id, sentence=sentence, since=item.since)


def _until(item: Open, facts: Facts) -> str:
    if item.expires_at is None:
        return ""
    left = (item.expires_at - facts.now).total_seconds()
    return f" It expires in {span(left)}." if left > 0 else " Its time is over."


def _no_worker(run: Run, facts: Facts) -> Why | None:
    """Return the answer while nobody could drive anything, or None."""
    alive = [worker for worker in facts.workers if status.is_alive(worker)]
    if any(not worker.draining for worker in alive):
        return None
    if status.is_draining():
        return _stuck(
            run, "service_draining", "The service is shutting down; it goes on after the next start."
        )
    if alive:
        return _stuck(
            run, "workers_draining", "Every worker is leaving and takes nothing new.", worker=alive[0].name
        )
    heard = facts.workers[0].heartbeat_at if facts.workers else None
    known = f": the last one was heard {_span(facts, heard)} ago" if heard else ""
    last = facts.workers[0].name if facts.workers else ""
    return _stuck(run, "no_worker", f"No worker is alive{known}.", since=heard, worker=last)


def _stuck(
    run: Run, code: str, sentence: str, *, since: datetime | None = None, worker: str = "", how: str = _START
) -> Why:
    cause = Cause(kind="worker", item_id=worker, sentence=sentence, since=since)
    return Why(
        run_id=run.run_id,
        state="waiting",
        code=code,
        sentence=sentence,
        since=since or run.updated_at,
        because=(cause,),
        next=how,
    )


def _due(run: Run, facts: Facts) -> Why:
    slots = sum(worker.slots for worker in facts.workers if status.is_alive(worker) and not worker.draining)
    since = run.updated_at if run.started_at else run.submitted_at
    if facts.busy >= slots:
        words = f"All {slots} slots of the workers are busy; it is next in session {run.session.session_id}."
        more = "It begins when one is free; more workers or KHEISH_WORKER_THREADS make room"
        return _stuck(run, "workers_busy", words, since=since, how=more)
    if facts.now - since > _PATIENCE:
        words = f"It is due for {_span(facts, since)}, a worker is alive and free, and none has taken it."
        return _stuck(run, "not_taken", words, since=since, how="Look at the workers' log, and at: status")
    goes = "It goes on" if run.started_at else "It starts"
    sentence = f"{goes} in a moment: nothing is before it and a worker is free."
    return Why(run_id=run.run_id, state="moving", code="due", sentence=sentence, since=since)


def _running(run: Run, facts: Facts) -> Why:
    session = run.session
    if session.lease_expires_at is None or session.lease_expires_at <= facts.now:
        lost = session.lease_owner or "its worker"
        sentence = f"{lost} stopped answering; another worker takes it over at step {run.step}."
        return _stuck(
            run, "recovering", sentence, since=session.lease_expires_at, worker=session.lease_owner, how=""
        )
    if run.stop_requested:
        by = f" by {run.stop_requested_by}" if run.stop_requested_by else ""
        words = f"It was asked to stop{by} and does so at its next boundary."
        return Why(run_id=run.run_id, state="moving", code="stopping", sentence=words, since=run.updated_at)
    return _in_backoff(run, facts) or _at_work(run, facts)


def _in_backoff(run: Run, facts: Facts) -> Why | None:
    entry = facts.last.get(run.pk)
    if entry is None or entry.kind != "model.failed":
        return None
    payload = entry.payload
    until = entry.at + timedelta(seconds=float(payload.get("delay_seconds") or 0))
    left = (until - facts.now).total_seconds()
    if left <= 0:
        return None
    route, error = str(payload.get("route_id", run.route_id)), payload.get("error") or {}
    sentence = (
        f"Route {route} failed ({error.get('kind', 'unknown')}) and is asked again in {span(left)}, "
        f"attempt {payload.get('next_attempt', 2)}."
    )
    cause = Cause(
        kind="route", item_id=route, sentence=one_line(str(error.get("message", ""))), since=entry.at
    )
    return Why(
        run_id=run.run_id,
        state="waiting",
        code="route_backoff",
        sentence=sentence,
        since=entry.at,
        because=(cause,),
        next=f"It goes on by itself; to look at the route: routes get {route}",
    )


def _at_work(run: Run, facts: Facts) -> Why:
    """Return what a run that is driven does now: a task, a call, a model call, or between them."""
    task = facts.tasks.get(run.pk)
    if task is not None:
        sentence = f"It runs a command for {_span(facts, task.started_at)}: {one_line(redact(task.command))}"
        cause = Cause(kind="task", item_id=task.task_id, sentence=sentence, since=task.started_at)
        return _moving(run, "task", cause, how=f"tasks stop {run.session.session_id} {task.task_id} ends it")
    call = facts.calls.get(run.pk)
    if call is not None:
        summary = call_summary(call.tool_name, call.arguments)
        sentence = f"It runs a tool for {_span(facts, call.started_at)}: {summary}"
        cause = Cause(kind="tool_call", item_id=call.call_id, sentence=sentence, since=call.started_at)
        return _moving(run, "tool", cause)
    step = facts.steps.get(run.pk)
    if step is not None and step.status == StepStatus.STARTED:
        route = step.route_id or run.route_id
        asked = _span(facts, step.started_at)
        sentence = f"It asks the model of route {route} for {asked}, step {step.number}."
        cause = Cause(kind="route", item_id=route, sentence=sentence, since=step.started_at)
        return _moving(run, "model", cause)
    sentence = f"It is being driven by {run.session.lease_owner}, step {run.step}."
    cause = Cause(kind="worker", item_id=run.session.lease_owner, sentence=sentence, since=run.updated_at)
    return _moving(run, "driven", cause)


def _moving(run: Run, code: str, cause: Cause, *, how: str = "") -> Why:
    return Why(
        run_id=run.run_id,
        state="moving",
        code=code,
        sentence=cause.sentence,
        since=cause.since,
        because=(cause,),
        next=how,
    )


def _nth(ahead: int) -> str:
    """Return the place in the line, counted from 1 behind the run that is active."""
    ending = "th" if ahead % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(ahead % 10, "th")
    return f"{ahead}{ending}"


def _span(facts: Facts, since: datetime | None) -> str:
    return span((facts.now - since).total_seconds()) if since is not None else "a while"


def span(seconds: float) -> str:
    """Return a length of time in its largest fitting unit, as the console and the command line say it."""
    sizes: Sequence[tuple[int, str]] = ((86_400, "d"), (3_600, "h"), (60, "min"))
    for size, unit in sizes:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(int(seconds), 0)} s"

"""Ports of the core: what the apps above it may hang in, in ``AppConfig.ready``, and the core calls.

The core knows none of them. With nothing registered it runs as it is. ``register_…`` takes what the core asks
or runs, ``on_…`` what it tells of something that happens.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from django.db.models import Q

from kheish_site.lib.errors import BadRequest
from sessions_app.models import Approval, OperatorDecision, Run, Session, ShellTask, UserQuestion


class Background(Protocol):
    """Something every worker process runs beside its sessions. ``worker`` is the process's unique name."""

    def start(self, worker: str) -> None:
        """Begin, in threads of its own. Called once, when the worker has announced itself."""
        ...

    def drain(self) -> None:
        """Begin nothing new. Called inside a signal handler: no lock, no query."""
        ...

    def stop(self) -> None:
        """End within seconds; what is in flight is left to whoever takes over."""
        ...


OutputListener = Callable[[Run, Mapping[str, Any], str], None]
"""Called with the run, an output and its key inside the transaction that commits the output.

The session's row lock is held. The key is the same whenever the same output is committed again.
"""


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One thing a search found. ``by`` says how: ``id``, ``text``, or the name of what other systems use."""

    kind: str
    item_id: str
    by: str
    excerpt: str = ""
    session_id: str = ""
    run_id: str = ""
    at: datetime | None = None


Search = Callable[[str], Iterable[Hit]]
"""Yields what an app above knows by a name; everybody who may view may see it."""

RunPart = Callable[[Run], Iterable[Mapping[str, Any]]]
"""Yields what an app above keeps of a run, as JSON objects; read while the export of the run is written."""

Asker = Callable[[Run, str], bool]
"""Tells whether the run was asked for by somebody who is the account or token of this name, elsewhere."""

Asked = Approval | UserQuestion | OperatorDecision
AskedListener = Callable[[Run, Sequence[Asked]], None]
"""Called with a run that has somebody to answer to and what it newly asks people, at least one item.

Inside the transaction that suspends the run, with the session's row lock held. An item is told of once: what
was asked before stays out, and a transaction that is rolled back asked nothing.
"""

TaskListener = Callable[[ShellTask], None]
"""Called with a background task that has just ended, whose run has somebody to answer to.

Inside the transaction that settles it, with the session's row lock held; a task is settled once.
"""

SlotUsers = Callable[[list[str]], Mapping[str, list[str]]]
"""Returns for each secret slot of a list what names it, such as ``connector:slack/ops``; one query."""

Preparation = Callable[[], object]
"""Makes what an installation needs before it serves; idempotent. Raises KheishError with the reason."""

BurialListener = Callable[[Collection[str]], None]
"""Called with the names of workers that are certainly dead: what they held can be taken at once."""

SessionNeed = Callable[[], Q]
"""Returns the condition on sessions, named by ``OuterRef("pk")``, under which one may not be purged."""

SessionPurgeListener = Callable[[Session], None]
"""Called before a session is purged, inside that transaction and under the session's row lock.

It deletes what names the session and lets go of what that held.
"""

Purge = Callable[[], int]
"""Deletes a bounded batch of what outlived its time and returns how many rows went."""

Reseal = Callable[[], int]
"""Seals a table's secrets again under the newest master key, in an open transaction; returns how many."""


@dataclass(frozen=True, kw_only=True)
class StatusPart:
    """What an app says in the status: a JSON object, and what somebody should look at.

    A warning has ``severity`` (warning, error), ``code``, ``message``, ``action``.
    """

    view: Mapping[str, Any]
    warnings: Sequence[Mapping[str, str]] = ()


class ReplyTargetJudge(Protocol):
    """Judges where a session or a run may answer to."""

    def __call__(
        self, given: Sequence[Any], /, *, credential_scope: Mapping[str, Any], may_reach_private: bool
    ) -> list[dict[str, Any]]:
        """Return what is given in normal form (``{"plugin", "address"}``), each once.

        Raises: BadRequest(invalid_reply_target), NotFound(connector_not_found).
        """
        ...


Binder = Callable[[Session, Collection[str], str], None]
"""Binds names of conversations to a session for good, as the principal of this name.

Called in the transaction that accepts a run, before the session's row is locked. Raises: Conflict, for a name
that another session has.
"""

LastingTargets = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]
"""Returns what of a run's reply targets holds for later runs too: not what belongs to one message."""


_BACKGROUND: list[Callable[[], Background]] = []
_OUTPUTS: list[OutputListener] = []
_SLOT_USERS: list[SlotUsers] = []
_PREPARATIONS: list[Preparation] = []
_ASKED: list[AskedListener] = []
_TASK_ENDS: list[TaskListener] = []
_BURIALS: list[BurialListener] = []
_NEEDS: list[SessionNeed] = []
_SESSION_PURGES: list[SessionPurgeListener] = []
_PURGES: dict[str, tuple[Purge, int]] = {}
_RESEALS: list[Reseal] = []
_STATUS: dict[str, Callable[[], StatusPart]] = {}
_JUDGES: list[ReplyTargetJudge] = []
_LASTING: list[LastingTargets] = []
_BINDERS: list[Binder] = []
_ASKERS: list[Asker] = []
_RUN_PARTS: dict[str, RunPart] = {}
_SEARCHES: list[Search] = []


def register_background(factory: Callable[[], Background]) -> None:
    """Run what ``factory`` makes in every worker process."""
    _BACKGROUND.append(factory)


def make_background() -> list[Background]:
    """Return fresh background work for one worker process."""
    return [factory() for factory in _BACKGROUND]


def on_output(listener: OutputListener) -> None:
    """Call ``listener`` for each output of a run."""
    _OUTPUTS.append(listener)


def output_emitted(run: Run, output: Mapping[str, Any], key: str) -> None:
    """Tell the listeners of an output. Needs the transaction that commits it."""
    for listener in _OUTPUTS:
        listener(run, output, key)


def register_search(find: Search) -> None:
    """Look for what people search for with ``find`` too."""
    _SEARCHES.append(find)


def search(text: str) -> Iterator[Hit]:
    """Yield what the apps above know by this name."""
    for find in _SEARCHES:
        yield from find(text)


def register_run_part(name: str, read: RunPart) -> None:
    """Put ``read(run)`` into the export of a run under ``name``."""
    _RUN_PARTS[name] = read


def run_parts(run: Run) -> Iterator[tuple[str, Iterable[Mapping[str, Any]]]]:
    """Yield what the apps above keep of ``run``, by name."""
    for name, read in sorted(_RUN_PARTS.items()):
        yield name, read(run)


def register_asker(asker: Asker) -> None:
    """Let ``asker`` say who is behind a run that came from a platform."""
    _ASKERS.append(asker)


def asked_elsewhere(run: Run, name: str) -> bool:
    """Tell whether the person or token ``name`` is known to have asked for ``run`` on a platform."""
    return any(asker(run, name) for asker in _ASKERS)


def on_asked(listener: AskedListener) -> None:
    """Call ``listener`` when a run suspends to ask people."""
    _ASKED.append(listener)


def asked(run: Run, items: Sequence[Asked]) -> None:
    """Tell the listeners what ``run`` newly asks. Needs the transaction that suspends it."""
    for listener in _ASKED:
        listener(run, items)


def on_task_ended(listener: TaskListener) -> None:
    """Call ``listener`` when a background task ends."""
    _TASK_ENDS.append(listener)


def task_ended(task: ShellTask) -> None:
    """Tell the listeners that ``task`` has ended. Needs the transaction that settles it."""
    for listener in _TASK_ENDS:
        listener(task)


def register_slot_users(users: SlotUsers) -> None:
    """Let ``users`` say which secret slots are in use."""
    _SLOT_USERS.append(users)


def slot_users(slot_ids: list[str]) -> dict[str, list[str]]:
    """Return what the apps above name of these slots."""
    found: dict[str, list[str]] = {slot_id: [] for slot_id in slot_ids}
    for users in _SLOT_USERS:
        for slot_id, names in users(slot_ids).items():
            found[slot_id] += names
    return found


def on_prepare(preparation: Preparation) -> None:
    """Run ``preparation`` whenever an installation is prepared, after the routes."""
    _PREPARATIONS.append(preparation)


def prepare() -> None:
    """Run what the apps above prepare. Raises: KheishError."""
    for preparation in _PREPARATIONS:
        preparation()


def on_burial(listener: BurialListener) -> None:
    """Call ``listener`` when dead workers are found, before their rows go. May be called again."""
    _BURIALS.append(listener)


def workers_buried(names: Collection[str]) -> None:
    """Tell the listeners which workers are dead."""
    for listener in _BURIALS:
        listener(names)


def register_session_need(need: SessionNeed) -> None:
    """Keep ended sessions as long as ``need`` holds for them."""
    _NEEDS.append(need)


def needed_sessions() -> Q:
    """Return the condition under which an app above needs a session."""
    found = Q(pk__in=[])
    for need in _NEEDS:
        found |= need()
    return found


def on_session_purged(listener: SessionPurgeListener) -> None:
    """Call ``listener`` when a session is purged."""
    _SESSION_PURGES.append(listener)


def session_purged(session: Session) -> None:
    """Tell the listeners that a session goes. Needs the transaction that deletes it."""
    for listener in _SESSION_PURGES:
        listener(session)


def register_purge(name: str, purge: Purge, *, batch: int) -> None:
    """Purge this table too whenever retention runs; ``batch`` is how many rows go at once at most."""
    _PURGES[name] = purge, batch


def purges() -> dict[str, tuple[Purge, int]]:
    """Return the registered purges, each with its batch."""
    return dict(_PURGES)


def register_reseal(reseal: Reseal) -> None:
    """Reseal these secrets too when the master key is rotated."""
    _RESEALS.append(reseal)


def reseal() -> int:
    """Run the registered reseals; return how many values were sealed again. Needs a transaction."""
    return sum(action() for action in _RESEALS)


def register_status(name: str, read: Callable[[], StatusPart]) -> None:
    """Show ``read()`` in the status under ``name``; it must cost little."""
    _STATUS[name] = read


def status_parts() -> dict[str, StatusPart]:
    """Return what the apps say, by name."""
    return {name: read() for name, read in sorted(_STATUS.items())}


def register_reply_target_judge(judge: ReplyTargetJudge) -> None:
    """Let ``judge`` decide where sessions and runs may answer to."""
    _JUDGES[:] = [judge]


def register_lasting_targets(lasting: LastingTargets) -> None:
    """Let ``lasting`` say what of a run's reply targets can become the defaults of its session."""
    _LASTING[:] = [lasting]


def lasting_targets(targets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what of reply targets in normal form holds for later runs too."""
    return _LASTING[0](targets) if _LASTING else [dict(target) for target in targets]


def register_binder(binder: Binder) -> None:
    """Let ``binder`` keep which conversation belongs to which session."""
    _BINDERS[:] = [binder]


def bind(session: Session, keys: Collection[str], *, principal: str) -> None:
    """Bind ``keys`` to ``session`` for good. Raises: BadRequest(invalid_request), Conflict."""
    if not _BINDERS:
        raise BadRequest("nothing here keeps binding keys", code="invalid_request", domain="sessions")
    _BINDERS[0](session, keys, principal)


def reply_targets(
    handles: Sequence[Any], *, credential_scope: Mapping[str, Any], may_reach_private: bool = False
) -> list[dict[str, Any]]:
    """Return ``handles`` in normal form. Raises: BadRequest(invalid_reply_target), NotFound."""
    if not handles:
        return []
    if not _JUDGES:
        raise BadRequest("nothing here can send answers", code="invalid_reply_target", domain="sessions")
    return _JUDGES[0](handles, credential_scope=credential_scope, may_reach_private=may_reach_private)

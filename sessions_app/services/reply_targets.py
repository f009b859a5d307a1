"""Where a session's future runs answer to. Runs that exist keep what they were created with.

What a handle may be is decided by the app that sends (``ports.reply_targets``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from django.db.models import F

from kheish_site.lib.errors import BadRequest, Forbidden, KheishError
from kheish_site.lib.redaction import MASK, redact
from kheish_site.lib.transactions import locked, require_transaction, write
from sessions_app.models import Run, Session
from sessions_app.services import journal, ports, sessions
from sessions_app.services.principal import Principal

MOST: Final = 20
"""Reply targets a session or a run may have."""


def judged(session: Session, handles: Sequence[Any], *, principal: Principal) -> list[dict[str, Any]]:
    """Return ``handles`` as ``session`` may use them. Raises: BadRequest, NotFound, Forbidden."""
    return checked(handles, session.credential_scope, principal=principal)


def checked(
    handles: Sequence[Any], credential_scope: Mapping[str, Any], *, principal: Principal
) -> list[dict[str, Any]]:
    """Return ``handles`` in normal form for a session of this scope. Raises as ``judged``."""
    found = ports.reply_targets(
        handles, credential_scope=credential_scope, may_reach_private=principal.can_administer
    )
    if len(found) > MOST:
        raise BadRequest(f"at most {MOST} reply targets", code="invalid_reply_target", domain="sessions")
    return found


def within(handles: Iterable[Any], credential_scope: Mapping[str, Any]) -> list[Any]:
    """Return those of ``handles``, in normal form, that a session of this scope may answer to.

    Whether they work now does not count. Needs the database.
    """
    return [handle for handle in handles if _is_within(handle, credential_scope)]


def _is_within(handle: Any, credential_scope: Mapping[str, Any]) -> bool:
    try:
        ports.reply_targets([handle], credential_scope=credential_scope, may_reach_private=True)
    except Forbidden:
        return False
    except KheishError:
        return True  # its connector is gone or not ready, which is no matter of scope
    return True


def shown(handles: Iterable[Any]) -> list[dict[str, Any]]:
    """Return handles as views and the journal show them: no header value, no query of a URL."""
    return [_shown(handle) for handle in handles]


def _shown(handle: Any) -> dict[str, Any]:
    if not isinstance(handle, Mapping) or not isinstance(handle.get("address"), Mapping):
        return {"plugin": "unknown", "address": {}}
    address = dict(handle["address"])
    if isinstance(address.get("headers"), Mapping):
        address["headers"] = dict.fromkeys(address["headers"], MASK)
    if isinstance(address.get("url"), str):
        before, question, _ = address["url"].partition("?")
        address["url"] = f"{before}?{MASK}" if question else before
    return {"plugin": handle.get("plugin"), "address": redact(address)}


def replace(
    session_id: str,
    handles: Sequence[Any],
    *,
    pinned: bool | None = None,
    principal: Principal,
    expected_revision: int | None = None,
) -> Session:
    """Make ``handles`` the defaults; ``pinned`` keeps connectors from changing them, None leaves that.

    Raises: SessionMissing, PreconditionFailed, and as ``judged``.
    """

    def judge(row: Session) -> list[Any]:
        return judged(row, handles, principal=principal)

    return _change(session_id, judge, pinned, principal, expected_revision)


def append(
    session_id: str, handles: Sequence[Any], *, principal: Principal, expected_revision: int | None = None
) -> Session:
    """Add ``handles`` to the defaults; one that is there already changes nothing. Raises as ``replace``."""

    def added(row: Session) -> list[Any]:
        was, found = row.reply_targets, judged(row, handles, principal=principal)
        now = [*was, *(handle for handle in found if handle not in was)]
        if len(now) > MOST:
            raise BadRequest(f"at most {MOST} reply targets", code="invalid_reply_target", domain="sessions")
        return now

    return _change(session_id, added, None, principal, expected_revision)


def withdraw(
    session_id: str,
    is_gone: Callable[[Mapping[str, Any]], bool],
    *,
    cause: Mapping[str, Any],
    principal: Principal,
) -> bool:
    """Take the defaults away that ``is_gone`` names, pinned or not; tell whether there was one.

    ``cause`` is what the journal says of why: a ``reason``, and what it is about. Opens its own transaction;
    nothing is written when there is none.
    """
    with write():
        row = locked(Session.objects.filter(session_id=session_id)).first()
        if row is None or not any(map(is_gone, row.reply_targets)):
            return False

        def kept(row: Session) -> list[Any]:
            return [handle for handle in row.reply_targets if not is_gone(handle)]

        _change(session_id, kept, None, principal, None, cause)
    return True


def adopt(session: Session, run: Run) -> None:
    """Make the explicit reply targets of a connector's run the session's defaults for future runs.

    Without what belongs to one message. Not when the session pins its own. Only the change is journalled:
    which connector, from what, to what. Needs the transaction that accepted the run, which holds the
    session's row.
    """
    require_transaction()
    row = Session.objects.only("reply_targets", "reply_targets_pinned").get(pk=session.pk)
    lasting = ports.lasting_targets(run.reply_targets)
    if row.reply_targets_pinned or row.reply_targets == lasting:
        return
    change = {"from": shown(row.reply_targets), "to": shown(lasting)}
    Session.objects.filter(pk=row.pk).update(reply_targets=lasting, revision=F("revision") + 1)
    payload = {
        "principal": run.requested_by,
        "source_plugin": run.source_plugin,
        "connector": run.metadata.get("connector", ""),
        "reply_targets": change,
    }
    journal.append(row.pk, journal.entry(session.session_id, "session.updated", payload, run=run))


def _change(
    session_id: str,
    make: Callable[[Session], list[Any]],
    pinned: bool | None,
    principal: Principal,
    expected_revision: int | None,
    cause: Mapping[str, Any] | None = None,
) -> Session:
    """Let ``make`` return the new defaults of the locked session: its scope holds until they are written."""

    def apply(row: Session) -> dict[str, Any]:
        change: dict[str, Any] = {}
        was, row.reply_targets = row.reply_targets, make(row)
        if was != row.reply_targets:
            change["reply_targets"] = {"from": shown(was), "to": shown(row.reply_targets)}
        if pinned not in (None, row.reply_targets_pinned):
            change["reply_targets_pinned"] = row.reply_targets_pinned = pinned
        return {"_fields": list(change), **change, **(cause or {})}

    return sessions.change(session_id, apply, principal=principal.name, expected_revision=expected_revision)

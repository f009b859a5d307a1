"""The audit log of what is in no session's journal: configuration, credentials, people, unmasked looks.

Services that change such things call ``record`` in their own transaction. Who acts is known from the request
(``acting``): a service need not be told by each of its callers, and none can forget to say it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet
from structlog.contextvars import get_contextvars

from kheish_site.lib import clock
from kheish_site.lib.canonical import canonical_json, sha256_hex
from kheish_site.lib.ids import new_id
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import write
from sessions_app.models import AuditEntry
from sessions_app.services.principal import SYSTEM, Principal

logger = logging.getLogger(__name__)

Who = Callable[[], Principal | None]
_ACTING: Final[ContextVar[Who | None]] = ContextVar("acting", default=None)
PURGED_AT_ONCE: Final = 1_000
_LONGEST: Final = 4_000


@contextmanager
def acting(who: Who) -> Iterator[None]:
    """Say who is behind what this context does; ``who`` is asked when something is recorded, not before."""
    token = _ACTING.set(who)
    try:
        yield
    finally:
        _ACTING.reset(token)


def record(
    action: str,
    kind: str,
    object_id: str,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    principal: Principal | None = None,
) -> AuditEntry | None:
    """Append one deed (``noun.past_participle``), in the caller's transaction if there is one.

    Of ``before`` and ``after`` only what differs is kept, long values as their digest. Where both are given
    and nothing differs, nothing is recorded (None). Without a request behind it, the daemon acted.
    """
    who = _ACTING.get()
    by = principal or (who() if who is not None else None) or SYSTEM
    old, new = _difference(before or {}, after or {})
    if before is not None and after is not None and not old and not new:
        return None
    with write():
        entry = AuditEntry(
            entry_id=new_id("aud"),
            at=clock.now(),
            principal=by.name,
            role=str(by.role),
            auth_method=by.auth_method,
            remote_addr=by.remote_addr,
            request_id=str(get_contextvars().get("request_id", ""))[:64],
            action=action,
            object_kind=kind,
            object_id=object_id[:240],
            before=redact(old),
            after=redact(new),
            reason=redact(reason)[:1000],
        )
        entry.save(force_insert=True)
    logger.info("deed recorded", extra={"action": action, "object": object_id, "principal": by.name})
    return entry


def everything() -> QuerySet[AuditEntry]:
    """Return the whole log."""
    return AuditEntry.objects.all()


def view(row: AuditEntry) -> dict[str, Any]:
    """Return one entry as JSON."""
    return {
        "entry_id": row.entry_id,
        "at": clock.rfc3339(row.at),
        "principal": row.principal,
        "role": row.role,
        "auth_method": row.auth_method,
        "remote_addr": row.remote_addr,
        "request_id": row.request_id,
        "action": row.action,
        "object_kind": row.object_kind,
        "object_id": row.object_id,
        "before": redact(row.before),
        "after": redact(row.after),
        "reason": redact(row.reason),
    }


def purge() -> int:
    """Delete a batch of entries that outlived ``KHEISH_KEEP_AUDIT_DAYS``; 0, the default, keeps all."""
    days = settings.KHEISH.keep_audit_days
    if not days:
        return 0
    old = AuditEntry.objects.filter(at__lt=clock.now() - timedelta(days=days)).order_by("at")
    with write():
        gone, _ = AuditEntry.objects.filter(
            pk__in=list(old.values_list("pk", flat=True)[:PURGED_AT_ONCE])
        ).delete()
    return gone


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the members of each that the other lacks or has otherwise."""
    missing = object()
    old = {name: _short(value) for name, value in before.items() if after.get(name, missing) != value}
    new = {name: _short(value) for name, value in after.items() if before.get(name, missing) != value}
    return old, new


def _short(value: Any) -> Any:
    """Return a value as the log holds it: a long one as its size and digest."""
    text = canonical_json(value)
    if len(text) <= _LONGEST:
        return value
    return {"size": len(text), "sha256": sha256_hex(text)}

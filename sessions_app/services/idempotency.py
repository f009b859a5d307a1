"""The first answer to an ``Idempotency-Key``, stored in the transaction of the work it guards.

A key is claimed before the work: whoever claims second waits for the first one's commit in the
unique index and then finds its answer; whoever fails takes the claim away with its transaction.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet
from django.utils.crypto import salted_hmac

from kheish_site.lib import clock, crypto
from kheish_site.lib.canonical import canonical_json, sha256_hex
from kheish_site.lib.errors import Conflict
from kheish_site.lib.prepared import Prepared, insert_if_new, update
from kheish_site.lib.transactions import locked, require_transaction, write
from sessions_app.models import IdempotencyRecord

SEALED: Final = "sealed"
"""A mark among a record's headers: its body is sealed text."""
PURGED_AT_ONCE: Final = 5_000
_CLAIMED: Final = 0  # a status nobody else ever sees: it is replaced before the commit


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A key under which one caller asks for one thing."""

    principal: str
    key: str
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered: HTTP status, JSON body, and the headers that belong to it."""

    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def fingerprint(method: str, path: str, body: Any) -> str:
    """Return what makes two requests the same; keyed, because a body may hold a guessable secret."""
    text = canonical_json([method, path, body])
    return salted_hmac("kheish.idempotency", text, algorithm="sha256").hexdigest()


def begin(claim: Claim) -> IdempotencyRecord | Answer:
    """Claim the key, or return the first answer given under it. Needs an open transaction.

    Whoever gets a record does the work and calls ``finish`` with it in the same transaction.
    Raises: Conflict(idempotency_conflict) when the key was used for another request.
    """
    require_transaction()
    mine = IdempotencyRecord(
        principal=claim.principal,
        key_digest=sha256_hex(claim.key),
        fingerprint=claim.fingerprint,
        status=_CLAIMED,
        created_at=clock.now(),
    )
    if insert_if_new(mine):
        return mine
    record = _KEPT.first(mine.principal, mine.key_digest)
    if record is None:
        return begin(claim)  # purged since
    if _renewed(record, claim):
        return record
    if record.fingerprint != claim.fingerprint:
        raise Conflict(
            "this Idempotency-Key was used for another request",
            code="idempotency_conflict",
            domain="idempotency",
        )
    text = crypto.unseal(record.body).decode() if SEALED in record.headers else record.body
    headers = {name: value for name, value in record.headers.items() if name != SEALED}
    return Answer(status=record.status, body=json.loads(text), headers=headers)


def finish(record: IdempotencyRecord, answer: Answer, *, sealed: bool = False) -> None:
    """Store the answer to what ``begin`` claimed, ``sealed`` when it holds a secret, in its transaction."""
    require_transaction()
    # As text, since a store may reorder the members of an object and the repeat should equal the first.
    text, headers = json.dumps(answer.body), dict(answer.headers)
    if sealed:
        text, headers[SEALED] = crypto.seal(text.encode()), "1"
    written = update(record, {"status": answer.status, "body": text, "headers": headers}, where={})
    assert written, "an answer without the claim of its key"


def purge() -> int:
    """Delete a batch of the records that are no longer repeated; return how many went.

    SQLite's one writer, and whoever streams everything, wait for as long as this takes.
    """
    old = IdempotencyRecord.objects.filter(created_at__lt=_oldest())
    with write():
        doomed = list(old.order_by("created_at").values_list("pk", flat=True)[:PURGED_AT_ONCE])
        deleted, _ = old.filter(pk__in=doomed).delete()  # unless it is in use again by now (``_renewed``)
    return deleted


def _oldest() -> datetime:
    return clock.now() - timedelta(hours=settings.KHEISH.keep_answers_hours)


def _kept(principal: str, key_digest: str) -> QuerySet[IdempotencyRecord]:
    return locked(IdempotencyRecord.objects.filter(principal=principal, key_digest=key_digest).order_by())


_KEPT: Final = Prepared[IdempotencyRecord](_kept, str, str)


def _renewed(record: IdempotencyRecord, claim: Claim) -> bool:
    """Take over a record that outlived its time and was not purged yet."""
    if record.created_at >= _oldest():
        return False
    record.fingerprint, record.status, record.created_at = claim.fingerprint, _CLAIMED, clock.now()
    record.save(update_fields=["fingerprint", "status", "created_at"])
    return True

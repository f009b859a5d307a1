"""The ledger of external actions: what was asked to leave the process, by whose word, and what came of it.

Every outward call leaves a ``started`` record before it and a ``finished`` one after it. They are written by
the transactions that commit the intent and the outcome, so that no action is without its record: when the
ledger cannot be written, the transaction fails and nothing leaves. Format: ``kheish_site.lib.action_chain``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.conf import settings
from django.db.models import Q, QuerySet

from kheish_site.lib import action_chain, clock
from kheish_site.lib.action_chain import GENESIS, UNSIGNED, VERSION, Signer
from kheish_site.lib.errors import Unavailable
from kheish_site.lib.prepared import Prepared, insert, update
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import locked, require_transaction
from sessions_app.models import ActionChain, ActionKind, ActionPhase, ExternalAction, Run

UNSCOPED: Final = "unscoped"
"""The bucket of what no session asked for."""
_BATCH: Final = 500
_CONTINUED: Final = ("count", "head", "at", "key_id", "signature")
"""What of a chain changes with each record."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot be continued, so no external action may happen."""

    code, domain, retryable = "audit_unavailable", "audit", False


class KeyMissing(LedgerUnavailable):
    """The records there are were signed with a key this installation does not hold."""

    code = "audit_key_missing"


class ChainBroken(LedgerUnavailable):
    """The head of a chain is not what was signed: somebody wrote into the database."""

    code = "audit_chain_broken"


@dataclass(frozen=True, kw_only=True)
class Action:
    """One record to be. ``target`` and ``grant`` are names a page may show, never addresses or bodies.

    ``grant`` says what allowed it (``approval:<id>``, ``permission:<mode>``, ``connector:<kind>/<name>``,
    ``session:<id>``); ``principal`` defaults to whoever requested the run. Digests are SHA-256 in hex.
    """

    phase: ActionPhase
    kind: ActionKind
    target: str
    grant: str = ""
    principal: str = ""
    request_digest: str = ""
    response_digest: str = ""
    outcome: str = ""
    tool_call_id: str = ""
    delivery_id: str = ""


def record(*actions: Action, run: Run | None = None, session_id: str = "") -> list[ExternalAction]:
    """Append signed records to the chain of one session, or to ``unscoped`` without one.

    ``run`` names session, run and principal; without it ``session_id`` may name a session alone. Needs the
    open transaction that commits the intent or the outcome. It locks the chain's row until that ends: lock
    the session's row first where the transaction needs both, and take several chains in order of bucket.
    Raises: KeyMissing, ChainBroken; the transaction must then not commit.
    """
    require_transaction()
    if not actions:
        return []
    session = run.session.session_id if run is not None else session_id
    signer = _signer(settings.KHEISH.audit_signing_key)
    chain = _locked_chain(bucket_of(session), signer)
    at, rows = clock.moment(), []
    for action in actions:
        rows.append(_row(chain, action, run, session, at, signer))
        chain.count, chain.head = chain.count + 1, rows[-1].record_hash
    if len(rows) == 1:
        insert(rows[0])
    else:
        ExternalAction.objects.bulk_create(rows)
    chain.at, chain.key_id = at, signer.key_id
    chain.signature = signer.sealed(_unsigned_checkpoint(chain))["signature"]
    update(chain, {name: getattr(chain, name) for name in _CONTINUED}, where={})
    return rows


def bucket_of(session_id: str) -> str:
    """Return the bucket of a session's records; a session may bear any name, also that of ``UNSCOPED``."""
    return f"session/{UNSCOPED}" if session_id == UNSCOPED else session_id or UNSCOPED


def public_key() -> str:
    """Return the public key in hex that verifies what is signed from now on."""
    return _signer(settings.KHEISH.audit_signing_key).key_id


def require_key() -> None:
    """Refuse to go on where another key signed: nothing could leave. Raises: KeyMissing."""
    if other := _other_key():
        raise KeyMissing(
            f"audit records were signed with another key ({other[:12]}…) than the one here "
            f"({public_key()[:12]}…): restore audit-signing.key or KHEISH_AUDIT_SIGNING_KEY"
        )


def foreign_chains() -> int:
    """Return how many chains name another key, 0 if none was signed with it: else nothing may leave."""
    return _of_other_keys(public_key()).count() if _other_key() else 0


def document(row: ExternalAction) -> dict[str, Any]:
    """Return the record as it is exported and shown: anybody can verify it."""
    whole = {name: getattr(row, name) for name in (*UNSIGNED, "action_id", "record_hash", *action_chain.SEAL)}
    return whole | {"at": clock.rfc3339(row.at)}


def checkpoint(bucket: str) -> dict[str, Any]:
    """Return the signed checkpoint over the records there are now.

    It is the one that was signed with the last of them, never made again from rows that may have been
    changed since. A chain that never began is signed as empty.
    """
    chain = ActionChain.objects.filter(bucket=bucket).first()
    signer = _signer(settings.KHEISH.audit_signing_key)
    if chain is None:
        empty = ActionChain(bucket=bucket, head=GENESIS, at=clock.moment())
        return signer.sealed(_unsigned_checkpoint(empty))
    return _signed_checkpoint(chain)


def export(bucket: str) -> Iterator[str]:
    """Yield the lines of a bucket's export: its records, then their checkpoint. Two queries in all."""
    end = checkpoint(bucket)
    rows = ExternalAction.objects.filter(bucket=bucket, seq__lte=end["count"]).order_by("seq")
    for row in rows.iterator(chunk_size=_BATCH):
        yield action_chain.line(document(row))
    yield action_chain.line(end)


_CHAIN: Final = Prepared[ActionChain](
    lambda bucket: locked(ActionChain.objects.filter(bucket=bucket).order_by()), str
)


@lru_cache(maxsize=4)
def _signer(key: str) -> Signer:
    return Signer(key)


def _locked_chain(bucket: str, signer: Signer) -> ActionChain:
    chain = _CHAIN.first(bucket)
    if chain is None:
        _begin(bucket, signer)
        chain = _CHAIN.all(bucket)[0]
    if not _is_as_signed(chain):
        raise ChainBroken("the head of the audit records is not what was signed", bucket=bucket)
    if chain.key_id != signer.key_id:
        raise KeyMissing(
            "the audit records were signed with another key: restore audit-signing.key", bucket=bucket
        )
    return chain


def _is_as_signed(chain: ActionChain) -> bool:
    """Tell whether the head is what the key it names signed; else it was written over, perhaps that name."""
    return action_chain.is_signed(_signed_checkpoint(chain), chain.key_id)


def _begin(bucket: str, signer: Signer) -> None:
    """Insert the head of a new chain; of two that do, the second waits for the first and changes nothing."""
    require_key()
    chain = ActionChain(bucket=bucket, head=GENESIS, at=clock.moment(), key_id=signer.key_id)
    chain.signature = signer.sealed(_unsigned_checkpoint(chain))["signature"]
    ActionChain.objects.bulk_create([chain], ignore_conflicts=True)


def _other_key() -> str:
    """Return another key that signed a chain, or "". One that was written over says nothing of the others."""
    others = _of_other_keys(public_key())[:_BATCH]
    return next((chain.key_id for chain in others if _is_as_signed(chain)), "")


def _of_other_keys(key_id: str) -> QuerySet[ActionChain]:
    """Return the chains that name another key: two ranges, which an index serves as ``<>`` is not."""
    return ActionChain.objects.order_by().filter(Q(key_id__lt=key_id) | Q(key_id__gt=key_id))


def _unsigned_checkpoint(chain: ActionChain) -> dict[str, Any]:
    at = clock.rfc3339(chain.at) or ""
    return action_chain.checkpoint(bucket=chain.bucket, count=chain.count, head=chain.head, at=at)


def _signed_checkpoint(chain: ActionChain) -> dict[str, Any]:
    seal = {
        "signature_alg": action_chain.ALGORITHM,
        "key_id": chain.key_id,
        "signature": chain.signature,
    }
    return _unsigned_checkpoint(chain) | seal


def _row(
    chain: ActionChain, action: Action, run: Run | None, session: str, at: datetime, signer: Signer
) -> ExternalAction:
    requested_by = (run.requested_by or run.actor_id) if run is not None else ""
    row = ExternalAction(
        version=VERSION,
        bucket=chain.bucket,
        seq=chain.count + 1,
        at=at,
        session_id=session,
        run_id=run.run_id if run is not None else "",
        tool_call_id=action.tool_call_id,
        delivery_id=action.delivery_id,
        principal_id=_shown(action.principal or requested_by, 200),
        grant_id=_shown(action.grant, 500),
        phase=str(action.phase),
        kind=str(action.kind),
        target=_shown(action.target, 300),
        request_digest=action.request_digest,
        response_digest=action.response_digest,
        outcome=_shown(action.outcome, 80),
        prev_hash=chain.head,
    )
    unsigned = {name: getattr(row, name) for name in UNSIGNED} | {"at": clock.rfc3339(at)}
    sealed = action_chain.sealed_record(unsigned, signer)
    for name in ("record_hash", *action_chain.SEAL):
        setattr(row, name, sealed[name])
    return row


def _shown(text: str, limit: int) -> str:
    """Return ``text`` as a record may hold it: redacted, storable, bounded."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in redact(text))
    return clean[:limit]

"""The journal's own rules: how an entry is made, chained, appended and verified.

An entry's ``digest`` is the SHA-256 of the canonical JSON (RFC 8785) of
``{session_id, run_id, kind, version, at, payload}``; its ``hash`` is the SHA-256 of the text
``<prev_hash>:<seq>:<digest>``, the first ``prev_hash`` being 64 zeros. Whoever holds an export can
check it without us.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from kheish_site.lib import clock
from kheish_site.lib.canonical import canonical_json, sha256_hex
from kheish_site.lib.redaction import redact
from sessions_app.models import JournalEntry, Run, Session
from sessions_app.services import writes
from sessions_app.services.writes import Change, Committed, Entry, Lease

GENESIS: Final = "0" * 64
_BATCH: Final = 500


def entry(
    session_id: str, kind: str, payload: dict[str, Any], *, run: Run | None = None, version: int = 1
) -> Entry:
    """Return an entry of ``kind`` (``noun.past_participle``) ready for a ``Change``.

    This is where redaction happens for everything the journal, its streams and its pages show.
    """
    at = clock.moment()
    clean = redact(payload)
    run_id = run.run_id if run is not None else None
    text = canonical_json(clean)
    return Entry(
        kind=kind,
        run_pk=run.pk if run is not None else None,
        payload=text,
        digest=_digest(session_id, run_id, kind, version, at, text),
        at=at,
        version=version,
    )


def append(
    session_pk: int, *entries: Entry, lease: Lease | None = None, lease_seconds: float = 0
) -> Committed:
    """Append ``entries`` to one session; needs nothing but joins an open transaction.

    Raises: LeaseLost when ``lease`` no longer holds the session.
    """
    return writes.commit(
        Change(session_pk=session_pk, entries=entries, lease=lease, lease_seconds=lease_seconds)
    )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What verifying a journal found; ``broken_at`` is the first bad sequence number, or None."""

    session_id: str
    entries: int
    head: str
    broken_at: int | None
    problem: str

    @property
    def whole(self) -> bool:
        """True when every entry is where and what it was when it was written."""
        return self.broken_at is None


def verify(session: Session) -> Verdict:
    """Recompute the whole chain of ``session`` and compare its head with the session row."""
    head, count, problem = GENESIS, 0, ""
    for row, run_id in _rows(session):
        problem = _check(row, run_id, session.session_id, head, count + 1)
        if problem:
            break
        head, count = row.hash, count + 1
    if not problem and (count + 1 != session.next_seq or head != session.last_hash):
        problem = "the journal ends before the head the session row names"
    broken_at = count + 1 if problem else None
    return Verdict(
        session_id=session.session_id, entries=count, head=head, broken_at=broken_at, problem=problem
    )


def _rows(session: Session) -> Iterator[tuple[JournalEntry, str | None]]:
    runs = dict(Run.objects.filter(session=session).values_list("pk", "run_id"))
    rows = JournalEntry.objects.filter(session=session, seq__lt=session.next_seq).order_by("seq")
    for row in rows.iterator(chunk_size=_BATCH):
        yield row, runs.get(row.run_id) if row.run_id is not None else None


def _check(row: JournalEntry, run_id: str | None, session_id: str, head: str, seq: int) -> str:
    if row.seq != seq:
        return f"entry {seq} is missing"
    if row.prev_hash != head:
        return "the entry does not follow the one before"
    text = canonical_json(row.payload)
    if row.digest != _digest(session_id, run_id, row.kind, row.version, row.at, text):
        return "the entry was changed"
    if row.hash != sha256_hex(f"{head}:{seq}:{row.digest}"):
        return "the chain was changed"
    return ""


def _digest(session_id: str, run_id: str | None, kind: str, version: int, at: datetime, payload: str) -> str:
    """Return the digest of an entry whose ``payload`` is canonical JSON already: it is put in as it is.

    The members stand in their canonical order, which is that of their names.
    """
    names = f'"run_id":{canonical_json(run_id)},"session_id":{canonical_json(session_id)}'
    return sha256_hex(
        f'{{"at":"{clock.rfc3339(at)}","kind":{canonical_json(kind)},"payload":{payload},{names},"version":{version}}}'
    )

"""Checking a journal's hash chain from outside, with nothing but its entries.

Rule: `digest` is the SHA-256 of the canonical JSON (RFC 8785) of session_id, run_id, kind, version, at
and payload; `hash` is the SHA-256 of `PREVIOUS:SEQ:DIGEST`; the first previous hash is 64 zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

GENESIS = "0" * 64
DIGESTED = ("session_id", "run_id", "kind", "version", "at", "payload")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`broken_at` is the first bad sequence number; None when the chain is whole."""

    entries: int
    head: str
    broken_at: int | None
    problem: str


def verify(entries: Iterable[Mapping[str, Any]], *, at_least: int = 0) -> Verdict:
    """Recompute the chain of all entries in order; fewer than `at_least` is a missing end."""
    head, count = GENESIS, 0
    for entry in entries:
        problem = _check(entry, head, count + 1)
        if problem:
            return Verdict(entries=count, head=head, broken_at=count + 1, problem=problem)
        head, count = str(entry["hash"]), count + 1
    if count < at_least:
        missing = f"the journal should reach entry {at_least}"
        return Verdict(entries=count, head=head, broken_at=count + 1, problem=missing)
    return Verdict(entries=count, head=head, broken_at=None, problem="")


def _check(entry: Mapping[str, Any], head: str, seq: int) -> str:
    # Here for start-up cost: it loads a library for canonical JSON that no other command needs.
    from kheish_site.lib.canonical import digest, sha256_hex

    if entry["seq"] != seq:
        return f"entry {seq} is missing"
    if entry["prev_hash"] != head:
        return "the entry does not follow the one before"
    content = digest({name: entry.get(name) for name in DIGESTED})
    if entry["hash"] != sha256_hex(f"{head}:{seq}:{content}"):
        return "the entry was changed"
    return ""

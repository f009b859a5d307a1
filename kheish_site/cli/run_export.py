"""Checking the export of a run from outside: both chains it holds, against a key and against each other.

Of its rows, what the journal states too is compared with it (``journal_story``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from kheish_site.cli import journal_story
from kheish_site.cli.chain import DIGESTED, GENESIS

TYPE = "kheish.run-export"
VERSION = 1
Document = Mapping[str, Any]


def verify(document: Document, public_key: str) -> dict[str, Any]:
    """Check an export; `{valid, run_id, records, head, journal, compared, not_compared, problems}`.

    `problems` have a `place` (`journal 7`, `external action 3`) and say what is wrong there.
    Raises: ValueError when `public_key` is not one.
    """
    # Here for start-up cost: it loads cryptography, which no other command needs.
    from kheish_site.lib import action_chain

    problems = [{"place": place, "problem": text} for place, text in _shape(document)]
    if problems:
        return {"valid": False, "run_id": "", "records": 0, "head": "", "journal": {}, "problems": problems}
    run_id, journal = str(document["run"]["run_id"]), document["journal"]
    held = document["external_actions"]
    lines = (action_chain.line(item).encode() for item in (*held["records"], held["checkpoint"]))
    found = action_chain.verify(lines, public_key)
    for item in map(asdict, found.problems):
        problems.append({"place": f"external action {item['line']}", "problem": item["problem"]})
    session = str(document["run"]["session_id"])
    if found.bucket not in (session, f"session/{session}"):
        problems.append({"place": "external actions", "problem": "they are of another session"})
    problems += [{"place": place, "problem": text} for place, text in _journal(journal, run_id, session)]
    problems += [{"place": place, "problem": text} for place, text in journal_story.differences(document)]
    known = {str(call["call_id"]) for call in document["tool_calls"]}
    for record in held["records"]:
        if record["run_id"] == run_id and record["tool_call_id"] and record["tool_call_id"] not in known:
            where = f"external action {record['seq']}"
            problems.append({"place": where, "problem": "the call it speaks of is not in the export"})
    return {
        "valid": not problems,
        "run_id": run_id,
        "records": found.records,
        "head": found.head,
        "journal": {"entries": journal["count"], "head": journal["head"]},
        "compared": list(journal_story.COMPARED),
        "not_compared": list(journal_story.NOT_COMPARED),
        "problems": problems,
    }


def _shape(document: Document) -> Iterator[tuple[str, str]]:
    """Yield what keeps the document from being read at all."""
    if document.get("version") != VERSION:
        yield "version", f"version {document.get('version')} is not known here"
        return
    members = {
        "run": ("run_id", "session_id"),
        "journal": ("count", "head", "entries"),
        "external_actions": ("records", "checkpoint"),
    }
    for name, wanted in members.items():
        part = document.get(name)
        if not isinstance(part, Mapping) or any(key not in part for key in wanted):
            yield name, "members are missing"
    if not isinstance(document.get("tool_calls"), list):
        yield "tool_calls", "members are missing"


def _journal(journal: Document, run_id: str, session_id: str) -> Iterator[tuple[str, str]]:
    """Yield the first break of the session's chain, and entries that are not of this run."""
    from kheish_site.lib.canonical import digest, sha256_hex

    head, number = GENESIS, 0
    for entry in journal["entries"]:
        number += 1
        place = f"journal {number}"
        if entry.get("seq") != number:
            yield place, f"entry {number} is missing"
            return
        own = "kind" in entry
        if own and (entry.get("run_id") != run_id or entry.get("session_id") != session_id):
            yield place, "the entry is of another run"
        content = digest({name: entry.get(name) for name in DIGESTED}) if own else str(entry.get("digest"))
        before, head = head, sha256_hex(f"{head}:{number}:{content}")
        if own and (entry.get("prev_hash") != before or entry.get("hash") != head):
            yield place, "the entry was changed, or one before it"
            return
    if number != journal["count"] or head != journal["head"]:
        yield "journal", "the entries do not end where the export says"

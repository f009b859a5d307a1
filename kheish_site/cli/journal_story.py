"""What the journal of an export says of the run and of what people decided in it, against the rows beside it.

The journal is chained, the rows are not: whoever changes a row must be found by what the journal states too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Payload = Mapping[str, Any]
COMPARED = (
    "status, requester, origin, outputs and error of the run",
    "approvals with their votes and decisions",
    "answers to questions",
    "operator decisions",
)
NOT_COMPARED = (
    "what the run was given and on which route",
    "what was asked",
    "inputs and results of calls",
    "steps",
    "tasks",
    "deliveries",
    "events",
    "times",
)
MASK = "[redacted]"
_WORDS = frozenset(
    {"outputs", "error", "answers", "reason", "justification", "note", "actor_id", "decision.reason"}
    | {"decision.justification", "request.actor_id"}
)
"""Members that hold what people, agents and platforms wrote: only of these a part may be masked later."""
_MOVES = frozenset(
    f"run.{word}"
    for word in ("queued", "started", "waiting", "resumed", "completed", "failed", "cancelled", "interrupted")
)
_ORIGIN = ("source_plugin", "source_kind", "actor_id")
_ASKED = ("call_id", "tool_name", "digest", "reason", "risk", "required_votes")
_DECIDED = ("behavior", "principal", "auth_method", "justification", "reason", "edited", "at")
_VOTED = ("principal", "behavior", "digest", "justification", "reason", "auth_method", "remote_addr")
_ANSWERED = ("answers", "justification")
_JUDGED = ("outcome", "note")


def differences(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield place and problem of everything that the rows of an export say otherwise than its journal."""
    own = [entry for entry in document["journal"]["entries"] if "kind" in entry]
    said = [(str(entry["kind"]), entry["payload"]) for entry in own if isinstance(entry["payload"], Mapping)]
    run = document["run"]
    yield from _places("run", _run(said), run)
    for noun, told in (
        ("approval", _approvals(said)),
        ("question", _answers("question", said)),
        ("decision", _answers("decision", said)),
    ):
        rows = document.get(f"{noun}s")
        if not isinstance(rows, list):
            yield f"{noun}s", "members are missing"
            continue
        yield from _items(noun, told, rows)


def _run(said: Iterable[tuple[str, Payload]]) -> dict[str, Any]:
    """Return what the journal states of the run, by the places of its view."""
    stated: dict[str, Any] = {"error": None}
    for kind, payload in said:
        if kind == "run.accepted":
            stated |= {f"request.{name}": payload.get(name) for name in _ORIGIN}
            stated["request.requested_by"] = payload.get("principal") or None
        elif kind in _MOVES:
            stated["status"] = payload.get("to")
            stated |= {name: payload[name] for name in ("outputs", "error") if name in payload}
    return stated


def _approvals(said: Iterable[tuple[str, Payload]]) -> dict[str, dict[str, Any]]:
    """Return what the journal states of each approval, with every vote in its order."""
    told: dict[str, dict[str, Any]] = {}
    for noun, verb, payload in _of("approval", said):
        one = told.setdefault(str(payload.get(f"{noun}_id")), {"status": "pending", "votes": []})
        if verb == "requested":
            one |= {name: payload.get(name) for name in _ASKED}
        elif verb == "edited":
            one |= {
                "digest": payload.get("digest"),
                "votes": [{**vote, "voided": True} for vote in one["votes"]],
            }
        elif verb == "voted":
            vote = {name: payload.get(name) for name in _VOTED}
            for earlier in one["votes"]:
                earlier["voided"] = earlier["voided"] or earlier["principal"] == vote["principal"]
            one["votes"].append({**vote, "voided": False})
        else:
            one["status"] = verb
            if verb in ("allowed", "denied"):
                one |= {f"decision.{name}": payload.get(name) for name in _DECIDED}
    return told


def _answers(noun: str, said: Iterable[tuple[str, Payload]]) -> dict[str, dict[str, Any]]:
    """Return what the journal states of each question or operator decision."""
    told: dict[str, dict[str, Any]] = {}
    for _, verb, payload in _of(noun, said):
        one = told.setdefault(str(payload.get(f"{noun}_id")), {"status": "pending"})
        if verb in ("asked", "requested"):
            one["call_id"] = payload.get("call_id")
            continue
        one["status"] = "resolved" if verb == "made" else verb
        members = _JUDGED if verb == "made" else _ANSWERED if verb in ("answered", "declined") else ()
        one |= {name: payload.get(name) for name in members}
        if members:
            one["resolved_by"] = payload.get("principal")
    return told


def _of(noun: str, said: Iterable[tuple[str, Payload]]) -> Iterator[tuple[str, str, Payload]]:
    for kind, payload in said:
        of, _, verb = kind.partition(".")
        if of == noun:
            yield of, verb, payload


def _items(noun: str, told: Mapping[str, Payload], rows: list[Any]) -> Iterator[tuple[str, str]]:
    found = {str(row.get(f"{noun}_id")): row for row in rows if isinstance(row, Mapping)}
    for item, stated in told.items():
        if item in found:
            yield from _places(f"{noun} {item}", stated, found[item])
        else:
            yield f"{noun} {item}", "the journal speaks of it, and it is not in the export"
    for item in [item for item in found if item not in told]:
        yield f"{noun} {item}", "the journal does not speak of it"


def _places(place: str, stated: Payload, row: Payload) -> Iterator[tuple[str, str]]:
    for name, value in stated.items():
        found: Any = row
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if name == "votes" and isinstance(found, list):
            found = [{key: vote.get(key) for key in (*_VOTED, "voided")} for vote in found]
        if not _same(value, found, are_words=name in _WORDS):
            yield place, f"{name} is not what the journal says"


def _same(stated: Any, found: Any, *, are_words: bool) -> bool:
    """Tell whether both say the same; what is masked on one side can say nothing of the other."""
    if isinstance(stated, Mapping) and isinstance(found, Mapping):
        return stated.keys() == found.keys() and all(
            _same(stated[key], found[key], are_words=are_words or key in _WORDS) for key in stated
        )
    if isinstance(stated, list) and isinstance(found, list):
        pairs = zip(stated, found, strict=False)
        return len(stated) == len(found) and all(_same(*pair, are_words=are_words) for pair in pairs)
    if isinstance(stated, str) and isinstance(found, str) and stated != found:
        return _is_masked_as(stated, found) or (are_words and _is_masked_as(found, stated))
    return bool(stated == found)


def _is_masked_as(masked: str, text: str) -> bool:
    """Tell whether ``text`` may be what ``masked`` was before some of it was masked."""
    first, *between = masked.split(MASK)
    if not between or not text.startswith(first):
        return False
    at, last = len(first), between.pop()
    for piece in between:
        at = text.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return text.endswith(last) and len(text) - len(last) >= at

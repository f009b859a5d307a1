"""What a journal entry says, in words for a person: one table, a row a kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kheish_site.cli.fields import pretty
from kheish_site.cli.output import Style
from kheish_site.cli.text import clean, one_line

Payload = Mapping[str, Any]
LONGEST_GIST = 160


def _tool(payload: Payload) -> str:
    name = one_line(payload.get("tool_name") or payload.get("name") or "a tool")
    arguments = payload.get("input") or payload.get("arguments")
    return f"{name} {one_line(pretty(arguments))[:LONGEST_GIST]}" if arguments else name


def _error(payload: Payload) -> str:
    error = payload.get("error")
    if not isinstance(error, Mapping):
        return one_line(error or "")
    parts = (error.get("code") or error.get("kind"), error.get("message"))
    return ": ".join(one_line(part) for part in parts if part)


def _by(payload: Payload) -> str:
    person = payload.get("principal")
    reason = payload.get("justification") or payload.get("reason") or payload.get("note")
    return (f" by {one_line(person)}" if person else "") + (f" ({one_line(reason)})" if reason else "")


def _id(payload: Payload) -> str:
    for name in ("approval_id", "question_id", "decision_id", "task_id", "checkpoint_id"):
        if payload.get(name):
            return one_line(payload[name])
    return ""


def _called(payload: Payload) -> str:
    return one_line(payload.get("tool_name") or _id(payload))


def _message(payload: Payload) -> str:
    who = one_line(payload.get("role") or "message")
    text = clean(payload.get("content") or payload.get("text") or "").strip()
    if who == "tool":
        text = one_line(text)[:LONGEST_GIST]
    return f"{who}: {text}" if text else ""


def _todos(payload: Payload) -> str:
    todos = payload.get("todos") or []
    lines = [f"  {'x' if _done(todo) else '·'} {one_line(todo.get('content') or '')}" for todo in todos]
    return "\n".join(["plan", *lines])


def _done(todo: Payload) -> bool:
    return bool(todo.get("completed")) or todo.get("status") == "completed"


def _ended(word: str) -> Callable[[Payload], str]:
    return lambda payload: ": ".join(part for part in (word, _error(payload)) if part) + _by(payload)


def _said(word: str, detail: Callable[[Payload], str] = lambda payload: "") -> Callable[[Payload], str]:
    return lambda payload: " ".join(part for part in (word, detail(payload).strip()) if part)


def _wait(payload: Payload) -> str:
    return one_line(payload.get("to") or "").removeprefix("waiting_for_").replace("_", " ")


_NO_CHANGES = frozenset({"principal", "reason", "connector", "source_plugin"})
"""What an entry of a changed session says beside what changed: who and why."""


def _changed(payload: Payload) -> str:
    return one_line(", ".join(sorted(set(payload) - _NO_CHANGES)).replace("_", " ")) + _by(payload)


def _bound(payload: Payload) -> str:
    persona = payload.get("persona")
    if not isinstance(persona, Mapping):
        return "removed"
    return one_line(f"{persona.get('persona_id')} revision {persona.get('revision')}")


def _returned(payload: Payload) -> str:
    content = one_line(payload.get("content") or "")[:LONGEST_GIST]
    failed = " an error" if payload.get("is_error") else ""
    return f"{_called(payload)} returned{failed}{': ' if content else ''}{content}"


def _route(payload: Payload) -> str:
    return one_line(f"from {payload.get('from')} to {payload.get('to')}")


# kind: (icon, plain icon, style, words). A kind that is not listed is shown by its name.
KINDS: dict[str, tuple[str, str, Style, Callable[[Payload], str]]] = {
    "session.created": ("○", "o", "dim", _said("session created")),
    "session.updated": ("○", "o", "dim", _said("session changed:", _changed)),
    "session.tool_granted": ("○", "o", "amber", lambda p: f"may use {_called(p)} unasked{_by(p)}"),
    "session.grant_revoked": ("○", "o", "dim", lambda p: f"asks for {_called(p)} again{_by(p)}"),
    "session.ended": ("○", "o", "dim", _said("session ended", _by)),
    "run.accepted": ("▸", ">", "dim", _said("accepted")),
    "run.queued": ("▸", ">", "dim", _said("queued")),
    "run.started": ("▶", ">", "blue", _said("started")),
    "run.waiting": ("✋", "!", "amber", _said("waits for", _wait)),
    "run.resumed": ("▶", ">", "blue", _said("goes on")),
    "run.recovered": ("↻", "@", "amber", _said("recovered after its worker was lost", _by)),
    "run.disrupted": ("↻", "@", "amber", _said("the service failed unexpectedly; goes on in a moment")),
    "run.completed": ("✔", "+", "green", _said("completed")),
    "run.failed": ("✘", "x", "red", _ended("failed")),
    "run.cancelled": ("■", "#", "dim", _ended("cancelled")),
    "run.interrupted": ("■", "#", "amber", _ended("interrupted")),
    "run.stop_requested": ("■", "#", "dim", _said("asked to stop", _by)),
    "message.created": ("✎", "-", "", _message),
    "model.failed": ("✘", "x", "red", _ended("the model failed")),
    "model.switched": ("⇄", "~", "amber", lambda p: f"model switched {_route(p)}".strip()),
    "tool.planned": ("·", ".", "dim", _said("plans", _tool)),
    "tool.started": ("⚙", "*", "", _said("runs", _tool)),
    "tool.returned": ("⚙", "*", "dim", _returned),
    "tool.denied": ("✘", "x", "red", _said("denied:", _tool)),
    "tool.unknown": ("?", "?", "amber", _said("nobody knows whether this happened:", _tool)),
    "tool.reconciled": ("✔", "+", "dim", _said("settled:", _tool)),
    "approval.requested": ("✋", "!", "amber", lambda p: f"approval {_id(p)}: {_tool(p)}"),
    "approval.voted": ("✔", "+", "dim", lambda p: f"vote on {_id(p)}{_by(p)}"),
    "approval.allowed": ("✔", "+", "green", lambda p: f"allowed {_id(p)}{_by(p)}"),
    "approval.denied": ("✘", "x", "red", lambda p: f"denied {_id(p)}{_by(p)}"),
    "approval.expired": ("✘", "x", "amber", lambda p: f"approval {_id(p)} expired"),
    "approval.edited": ("✎", "-", "amber", lambda p: f"edited {_id(p)}{_by(p)}"),
    "approval.cancelled": ("■", "#", "dim", lambda p: f"approval {_id(p)} dropped"),
    "question.asked": ("✋", "!", "amber", lambda p: f"question {_id(p)}"),
    "question.answered": ("✔", "+", "green", lambda p: f"answered {_id(p)}{_by(p)}"),
    "question.declined": ("✘", "x", "amber", lambda p: f"declined {_id(p)}{_by(p)}"),
    "question.expired": ("✘", "x", "amber", lambda p: f"question {_id(p)} expired"),
    "question.cancelled": ("■", "#", "dim", lambda p: f"question {_id(p)} dropped"),
    "decision.requested": ("✋", "!", "amber", lambda p: f"decision {_id(p)}: {_tool(p)}"),
    "decision.made": (
        "✔",
        "+",
        "green",
        lambda p: f"decided {_id(p)}: {one_line(p.get('outcome') or '')}{_by(p)}",
    ),
    "decision.cancelled": ("■", "#", "dim", lambda p: f"decision {_id(p)} dropped"),
    "checkpoint.created": ("◆", "=", "dim", _said("checkpoint")),
    "output.emitted": ("➤", ">", "bold", lambda p: clean(p.get("content") or "").strip()),
    "task.started": ("⚙", "*", "dim", lambda p: f"task {_id(p)} {one_line(p.get('command') or '')}".strip()),
    "task.finished": ("⚙", "*", "dim", lambda p: f"task {_id(p)} {one_line(p.get('status') or 'finished')}"),
    "todo.written": ("☰", "=", "", _todos),
    "persona.bound": ("○", "o", "dim", lambda p: f"persona {_bound(p)}"),
}


def describe(entry: Mapping[str, Any]) -> tuple[str, str, Style, str]:
    """Icon, plain icon, style and words of one journal entry. Words may span lines, or be empty."""
    kind = str(entry.get("kind") or "event")
    payload = entry.get("payload")
    payload = payload if isinstance(payload, Mapping) else {}
    known = KINDS.get(kind)
    if known is None:
        return "·", ".", "dim", f"{one_line(kind)} {one_line(pretty(payload))[:LONGEST_GIST]}"
    icon, plain, style, words = known
    return icon, plain, style, words(payload)

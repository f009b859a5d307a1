"""Journal entries as lines a person follows: one function says what happened, one class prints it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kheish_site.cli.client import RUN_ENDED
from kheish_site.cli.output import Output, Style, pretty
from kheish_site.cli.sse import StreamEvent
from kheish_site.cli.text import clean, one_line, parse_time

Payload = Mapping[str, Any]
LONGEST_GIST = 160


def _tool(payload: Payload) -> str:
    name = one_line(payload.get("tool_name") or payload.get("name") or "a tool")
    arguments = payload.get("input") or payload.get("arguments")
    return f"{name} {one_line(pretty(arguments))[:LONGEST_GIST]}" if arguments else name


def _error(payload: Payload) -> str:
    error = payload.get("error")
    source = error if isinstance(error, Mapping) else payload
    code, message = (
        one_line(source.get("code") or ""),
        one_line(source.get("message") or source.get("detail") or ""),
    )
    return ": ".join(part for part in (code, message) if part) or one_line(error or "")


def _by(payload: Payload) -> str:
    person = payload.get("principal") or payload.get("by") or payload.get("resolved_by")
    reason = payload.get("justification") or payload.get("reason")
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
    return lambda payload: ": ".join(part for part in (word, _error(payload)) if part)


def _said(word: str, detail: Callable[[Payload], str] = lambda payload: "") -> Callable[[Payload], str]:
    return lambda payload: " ".join(part for part in (word, detail(payload).strip()) if part)


# kind: (icon, plain icon, style, words). A kind that is not listed is shown by its name.
KINDS: dict[str, tuple[str, str, Style, Callable[[Payload], str]]] = {
    "session.created": ("○", "o", "dim", _said("session created")),
    "session.updated": ("○", "o", "dim", _said("session changed")),
    "session.ended": ("○", "o", "dim", _said("session ended", _by)),
    "run.accepted": ("▸", ">", "dim", _said("accepted")),
    "run.queued": ("▸", ">", "dim", _said("queued")),
    "run.started": ("▶", ">", "blue", _said("started")),
    "run.waiting": (
        "✋",
        "!",
        "amber",
        _said("waits for", lambda p: one_line(p.get("status") or p.get("kind") or "")),
    ),
    "run.resumed": ("▶", ">", "blue", _said("goes on")),
    "run.recovered": ("↻", "@", "amber", _said("recovered after its worker was lost", _by)),
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
    "tool.returned": (
        "⚙",
        "*",
        "dim",
        lambda p: f"{_called(p)} returned{' an error' if p.get('is_error') else ''}",
    ),
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
    "persona.bound": ("○", "o", "dim", lambda p: f"persona {one_line(p.get('persona_id') or 'removed')}"),
}


def _route(payload: Payload) -> str:
    start, end = (
        payload.get("from_route_id") or payload.get("from"),
        payload.get("to_route_id") or payload.get("to"),
    )
    return one_line(f"from {start} to {end}") if start and end else _error(payload)


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


def kind_of(event: StreamEvent) -> str:
    """The journal kind an event carries; its name for live extras."""
    return str(event.data.get("kind") or event.name) if isinstance(event.data, Mapping) else event.name


class Timeline:
    """Prints a stream in the mode of `out`: lines for people, objects for programs, seqs for --quiet."""

    def __init__(self, out: Output, *, deltas: bool = False, with_session: bool = False) -> None:
        self._out = out
        self._deltas = deltas
        self._with_session = with_session
        self._live = ""

    def show(self, event: StreamEvent) -> None:
        """Print one event. The closing `run.ended` is no journal entry and is left out."""
        entry = event.data
        if not isinstance(entry, Mapping) or event.name == RUN_ENDED:
            return
        if not event.id and "seq" not in entry:
            self._show_delta(event.name, entry)
        elif self._out.mode == "json":
            self._out.json_line(entry)
        elif self._out.mode == "quiet":
            self._out.line(str(entry.get("seq", event.id)))
        else:
            self.show_entry(entry)

    def show_entry(self, entry: Mapping[str, Any]) -> None:
        """One journal entry for people."""
        icon, plain, style, words = describe(entry)
        if self._close_live(entry, words) or not words:
            return
        at = parse_time(entry.get("at"))
        clock = at.astimezone().strftime("%H:%M:%S") if at else "--:--:--"
        where = f"{one_line(entry.get('session_id') or '')}  " if self._with_session else ""
        indented = words.replace("\n", "\n" + " " * 13)
        self._out.line(f"{clock}  {self._out.icon(icon, plain)}  {where}{indented}", style)

    def close(self) -> None:
        """End a half-written live line."""
        if self._live:
            self._out.piece("\n")
            self._live = ""

    def _show_delta(self, name: str, data: Mapping[str, Any]) -> None:
        """A live extra. Shown on a terminal as it arrives; the durable message replaces it."""
        if self._out.mode == "json":
            if self._deltas:
                self._out.json_line({"kind": name, **data})
            return
        text = data.get("text") or data.get("delta") or ""
        single = not self._with_session and self._out.mode == "human" and self._out.is_terminal
        if single and "reasoning" not in name and isinstance(text, str) and text:
            self._out.piece(text if self._live else f"{'':10}{self._out.icon('✎', '-')}  {text}")
            self._live += text

    def _close_live(self, entry: Mapping[str, Any], words: str) -> bool:
        """End the live line; true when the entry says just what was already shown live."""
        shown, is_message = clean(self._live).strip(), entry.get("kind") == "message.created"
        self.close()
        return bool(shown) and is_message and words == f"assistant: {shown}"

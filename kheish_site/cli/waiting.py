"""What a waiting run waits for, and the exact command that answers it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import Context
from kheish_site.cli.fields import pretty
from kheish_site.cli.text import one_line
from kheish_site.cli.transport import Problem, Unreachable

Json = Any

KINDS = ("approval", "question", "decision")
MASKED = "Parts of the input are masked: this is not all of the call."


def is_waiting(run: Mapping[str, Any]) -> bool:
    return str(run.get("status", "")).startswith("waiting")


def waits_for(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs (kind, id), the kind one of `KINDS`."""
    found = [(kind, str(value)) for kind in KINDS for value in run.get(f"pending_{kind}_ids") or []]
    waiting = run.get("waiting_for") or {}
    return found or [(str(waiting.get("kind")), str(value)) for value in waiting.get("ids") or []]


def announce(context: Context, run: Mapping[str, Any]) -> None:
    """Say on standard error what the run waits for and how to go on."""
    run_id = str(run["run_id"])
    needs = waits_for(run)
    hand = context.out.icon("✋", "!")
    if not needs:
        summary = one_line((run.get("waiting_for") or {}).get("summary") or run.get("status"))
        context.out.word(f"{hand} {run_id} waits: {summary}", "amber")
        return
    for kind, identifier in needs:
        item = _fetch(context, kind, identifier)
        context.out.word(f"{hand} {run_id} waits for {_what(kind, identifier, item)}", "amber")
        if item.get("input_masked"):
            context.out.word(f"   {MASKED}", "amber")
        for label, command in _answers(kind, identifier, item):
            context.out.word(f"   {label + ':':8} {context.command(command)}")
    if sum(kind == "approval" for kind, _ in needs) > 1:
        context.out.word(f"   All:     {context.command(f'approvals allow-all --run-id {run_id}')}")


def _fetch(context: Context, kind: str, identifier: str) -> Mapping[str, Any]:
    """The thing waited for; empty when it cannot be read, the commands are known without it."""
    if kind not in KINDS:
        return {}
    try:
        item = context.client.get(path(f"{kind}s", identifier))
    except (Problem, Unreachable):
        return {}
    return item if isinstance(item, dict) else {}


def _what(kind: str, identifier: str, item: Mapping[str, Any]) -> str:
    if kind == "approval":
        shown = f" {one_line(pretty(item['input']))}" if item.get("input") else ""
        return f"approval {identifier}: {one_line(item.get('tool_name') or 'a tool')}{shown}"
    if kind == "question":
        texts = [one_line(question.get("question") or "") for question in item.get("questions") or []]
        return f"an answer to {identifier}: {' / '.join(texts)}".rstrip(": ")
    if kind == "decision":
        return f"a decision on {identifier}: did {one_line(item.get('tool_name') or 'the call')} happen?"
    return f"{one_line(kind)} {identifier}"


def _answers(kind: str, identifier: str, item: Mapping[str, Any]) -> list[tuple[str, str]]:
    if kind == "approval":
        look = [("Look", look_command(item))] if item.get("input_masked") else []
        return [
            *look,
            ("Allow", allow_command(identifier, item)),
            ("Deny", f'approvals deny {identifier} --reason "…"'),
            ("Edit", f"approvals allow {identifier} --edit"),
        ]
    if kind == "question":
        return [
            ("Answer", f"questions answer {identifier} {example_answer(item)}"),
            ("Decline", f"questions decline {identifier}"),
        ]
    if kind == "decision":
        return [
            ("It did", f"decisions decide {identifier} happened"),
            ("Did not", f"decisions decide {identifier} not_happened"),
            ("Other", f"decisions decide {identifier} tell_agent   (or give_up)"),
        ]
    return []


def allow_command(approval_id: str, approval: Mapping[str, Any]) -> str:
    """The command that allows the call as shown here, and no other one."""
    digest = approval.get("digest")
    return f"approvals allow {approval_id}" + (f" --digest {one_line(digest)}" if digest else "")


def look_command(approval: Mapping[str, Any]) -> str:
    """The command that shows a masked call whole, to whoever may see that."""
    return f"approvals get {approval['approval_id']} --unredacted"


def example_answer(item: Mapping[str, Any]) -> str:
    """Arguments of `questions answer` that pick the first option of every question."""
    questions = item.get("questions") or []
    picks = [(str(q.get("id")), str((q.get("options") or [{}])[0].get("id", "OPTION"))) for q in questions]
    if not picks:
        return "OPTION"
    if len(picks) == 1:
        return shell_word(picks[0][1])
    return " ".join(shell_word(f"{question}={option}") for question, option in picks)


def shell_word(text: str) -> str:
    """The text as one word for a POSIX shell."""
    safe = text and all(character.isalnum() or character in "_-=.,:/@" for character in text)
    return text if safe else "'" + text.replace("'", "'\"'\"'") + "'"

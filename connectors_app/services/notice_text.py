"""The text of notices: plain, and showing exactly what is asked.

An agent's words are redacted, and invisible characters that change how text looks (controls, direction
overrides) are spelt out: a call must not look like another one.
"""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings

from kheish_site.lib import clock
from kheish_site.lib.redaction import masks, redact
from kheish_site.lib.visible import shortened, visible
from sessions_app.models import Approval, OperatorDecision, Role, Run, ShellTask, UserQuestion

LONGEST_ARGUMENTS: Final = 2_500
"""Characters of arguments in a notice: with its other lines it still fits one message on every platform."""
_LONGEST_TEXT: Final = 600


@dataclass(frozen=True, kw_only=True)
class View:
    """The text of a notice. ``whole``: it shows all that is decided on."""

    noun: str
    item_id: str
    text: str
    whole: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


def of_approval(run: Run, approval: Approval) -> View:
    """Say which call needs a decision, with the arguments that its digest binds."""
    shown, rest, masked = _arguments(approval.arguments)
    cut = f"({rest} more characters are not shown: look at all of it to allow it.)" if rest else ""
    hidden = "(Parts are masked: look at the exact call to allow it.)" if masked else ""
    lines = [
        f"Approval needed: {plain(approval.tool_name, keep_lines=False)}",
        _asked_by(run),
        f"Why: {_line(approval.reason)}" if approval.reason else "",
        shown,
        cut,
        hidden,
        _needs(approval),
        *_ending("approval", "approvals get", approval.approval_id, approval.expires_at),
    ]
    facts = {
        "input": redact(approval.arguments),
        "input_masked": masked,
        **_expiry(approval.expires_at),
    }
    return View(
        noun="approval",
        item_id=approval.approval_id,
        text=_joined(lines),
        whole=not rest and not masked,
        facts=facts,
    )


def of_question(run: Run, question: UserQuestion) -> View:
    """Say what the agent asks, with every option."""
    lines = ["The agent asks:", _asked_by(run)]
    for asked in question.questions:
        several = " (several may be chosen)" if asked["multi_select"] else ""
        lines.append(f"{plain(asked['question'])}{several}")
        lines += [f"- {_option(option)}" for option in asked["options"]]
    lines += _ending("userquestion", "questions get", question.question_id, question.expires_at)
    facts = {"questions": question.questions, **_expiry(question.expires_at)}
    return View(noun="question", item_id=question.question_id, text=_joined(lines), facts=facts)


def of_decision(run: Run, decision: OperatorDecision) -> View:
    """Say that nobody knows whether a call took effect. It is decided beside the evidence, not in a chat."""
    shown, rest, _ = _arguments(decision.tool_call.arguments)
    lines = [
        f"Nobody knows whether this happened: {plain(decision.tool_call.tool_name, keep_lines=False)}",
        _asked_by(run),
        shown,
        f"({rest} more characters)" if rest else "",
        *_ending("operatordecision", "decisions get", decision.decision_id, None),
    ]
    return View(noun="decision", item_id=decision.decision_id, text=_joined(lines))


def of_task(run: Run, task: ShellTask) -> View:
    """Say how a background task ended, and where its output is."""
    reason = str(task.metadata.get("terminal_reason", ""))
    code = f"exit code {task.exit_code}" if task.exit_code is not None else ""
    how = ", ".join(part for part in (code, reason if reason != "exited" else "") if part)
    lines = [
        f"A background task has ended: {task.status} ({how or 'no exit code'})",
        _asked_by(run),
        _line(task.description or task.command),
        f"{task.task_id} (kheish tasks output {shlex.quote(_line(run.session.session_id))} {task.task_id})",
    ]
    facts = {
        "task_id": task.task_id,
        "status": task.status,
        "exit_code": task.exit_code,
        "terminal_reason": reason,
        "recovered_on_boot": bool(task.metadata.get("recovered_on_boot")),
    }
    return View(noun="task", item_id=task.task_id, text=_joined(lines), facts=facts)


def plain(text: str, *, keep_lines: bool = True) -> str:
    """Return ``text`` redacted, with invisible characters spelt out."""
    shown = visible(redact(text))
    return shown if keep_lines else shown.replace("\n", "\\n").replace("\t", "\\t")


def _arguments(arguments: Mapping[str, Any]) -> tuple[str, int, bool]:
    """Return the arguments for people, how many characters are left out, and whether any are masked."""
    clean = json.dumps(redact(arguments), indent=2, ensure_ascii=False)
    text = plain(clean)
    left_out = max(0, len(text) - LONGEST_ARGUMENTS)
    return text[:LONGEST_ARGUMENTS], left_out, masks(arguments) or masks(clean)


def _needs(approval: Approval) -> str:
    """Say what the policy needs beyond one vote of anybody who may decide."""
    if approval.required_votes == 1 and Role.OPERATOR in (approval.roles or Role.values):
        return ""
    votes = "a vote" if approval.required_votes == 1 else f"{approval.required_votes} votes"
    return f"Needs {votes} of {' or '.join(approval.roles or (Role.OPERATOR, Role.ADMIN))}."


def _option(option: Mapping[str, Any]) -> str:
    described = f": {_line(option['description'])}" if option["description"] else ""
    preview = " (with a preview, not shown here)" if option.get("preview") else ""
    return f"{plain(option['label'], keep_lines=False)}{described}{preview}"


def _asked_by(run: Run) -> str:
    actor = f" ({_line(run.actor_id)} through {run.source_plugin})" if run.source_plugin != "daemon" else ""
    asker = _line(run.requested_by) or "nobody known"
    return f"Run {run.run_id} of session {_line(run.session.session_id)}, asked for by {asker}{actor}"


def _ending(model: str, command: str, item_id: str, expires_at: Any) -> list[str]:
    base = settings.KHEISH.public_url
    link = f"{base}/admin/sessions_app/{model}/{item_id}/change/" if base else ""
    ends = f"Expires {expires_at:%Y-%m-%d %H:%M:%S} UTC" if expires_at is not None else ""
    return [ends, link, f"{item_id} (kheish {command} {item_id})"]


def _expiry(moment: Any) -> dict[str, str]:
    return {} if moment is None else {"expires_at": str(clock.rfc3339(moment))}


def _line(text: str) -> str:
    """Return ``text`` on one line, clipped."""
    return shortened(plain(" ".join(text.split()), keep_lines=False), _LONGEST_TEXT)


def _joined(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line)

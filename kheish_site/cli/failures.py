"""Failures in words: what went wrong, what to do about it, and the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish_site.cli.command import Context
from kheish_site.cli.exits import CliError, Exit
from kheish_site.cli.resources import RESOURCES
from kheish_site.cli.text import one_line
from kheish_site.cli.transport import Foreign, Problem, Unreachable

STATUS_EXITS = {
    400: Exit.USAGE,
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    413: Exit.USAGE,
    422: Exit.USAGE,
    428: Exit.CONFLICT,
    502: Exit.NO_SERVICE,
    503: Exit.NO_SERVICE,
    504: Exit.NO_SERVICE,
}


# What lists a thing where it is not `list` of its plural.
LISTS = {
    "observation source": "observations sources list",
    "observation schedule": "observations schedules list",
    "delivery target": "deliveries targets",
}
# What is listed only of something, and the arguments that name it.
WITHIN = {
    "task": ("session_id",),
    "identity": ("kind", "name"),
    "observation": ("source_id",),
    "observation schedule": ("source_id",),
}


def explain_unreachable(context: Context, error: Unreachable) -> CliError:
    """No answer: is the service running, and is this its address?"""
    cure = f"Start it with: {_starter()}" if error.refused else "Try again; nothing is done twice."
    cure += _whence(context) + _where_looked(context)
    return CliError(f"no service at {error.base_url} ({error.reason})", cure=cure, code=Exit.NO_SERVICE)


def explain_foreign(context: Context, error: Foreign) -> CliError:
    """An answer nobody here understands: is this the address of Kheish?"""
    cure = f"Is {context.connection.base_url} Kheish, and of this version?" + _whence(context)
    return CliError(one_line(error), cure=cure)


def _whence(context: Context) -> str:
    source = context.connection.url_source
    return "" if source in ("default", "--base-url") else f"\n  The address comes from {source}."


def _where_looked(context: Context) -> str:
    """The state folder that named no running service, where the address is a guess for want of one."""
    found = context.connection
    if found.url_source != "default":
        return ""
    last = f" The last one was at {found.last_url} and did not end by itself." if found.last_url else ""
    return f"\n  No service runs on the state folder {found.state_folder}.{last}"


def explain_problem(context: Context, problem: Problem) -> CliError:
    """A refusal with its cure."""
    code = STATUS_EXITS.get(problem.status, Exit.FAILED)
    message = one_line(problem.detail)
    for name, value in _field_errors(problem.document):
        message += f"\n  {one_line(name)}{': ' if name else ''}{one_line(value)}"
    return CliError(message, cure=_cure(context, problem), code=code)


def _cure(context: Context, problem: Problem) -> str:
    if problem.status == 401:
        return _sign_in(context)
    if problem.status == 403:
        return "Ask for a token with a higher role: an operator decides, an admin configures."
    if problem.status == 404:
        return _where_to_look(context, problem)
    if problem.status in (409, 412, 428):
        return _who_won(problem) or _look_again(context, problem)
    if problem.status == 429:
        seconds = problem.retry_after_seconds
        return f"Try again in {seconds:.0f} s." if seconds is not None else "Try again in a while."
    if problem.status >= 500:
        return f"Look at it with: {context.command('doctor')}"
    return ""


def _sign_in(context: Context) -> str:
    source = context.connection.token_source
    if source:
        return f"The token from {source} is not accepted at {context.connection.base_url}."
    return "Set KHEISH_TOKEN or --token-file, or run where `serve` keeps its .kheish (KHEISH_STATE_DIR)."


def _where_to_look(context: Context, problem: Problem) -> str:
    """The command that lists what exists, chosen by the problem's code, else by the noun typed."""
    if problem.code.startswith("api/"):
        return f"This service does not know that address. Compare versions: {context.command('status')}"
    named = next((r for r in RESOURCES if problem.code.startswith(f"{r.name.replace(' ', '_')}_not")), None)
    asked = context.args.command.noun if context.args.command else ""
    resource = named or next((r for r in RESOURCES if r.plural == asked), None)
    if resource is None:
        return f"See what this service can do: {context.command('capabilities')}"
    within = "".join(f" {_given(context, name)}" for name in WITHIN.get(resource.name, ()))
    everything = " --status all" if resource.name in ("approval", "question", "decision") else ""
    lists = LISTS.get(resource.name, f"{resource.plural} list")
    cure = f"See which there are: {context.command(f'{lists}{within}{everything}')}"
    if resource.name == "session" and getattr(context.args, "session_id", None):
        cure += f"\n  Or make it: {context.command(f'sessions create {context.args.session_id}')}"
    return cure


def _given(context: Context, name: str) -> str:
    return str(getattr(context.args, name, None) or name.removesuffix("_id").upper())


def _who_won(problem: Problem) -> str:
    """Who decided first and when, wherever the problem carries it."""
    for value in (problem.document, *problem.document.values()):
        if not isinstance(value, Mapping):
            continue
        inner = value.get("decision")
        decision: Mapping[str, Any] = inner if isinstance(inner, Mapping) else value
        who = decision.get("principal") or decision.get("resolved_by")
        if who:
            word = inner if isinstance(inner, str) else decision.get("behavior") or decision.get("outcome")
            state = None if value is problem.document else value.get("status")  # a problem's own is HTTP's
            what = word or state or "decided"
            when = decision.get("at") or decision.get("resolved_at")
            return one_line(f"{what} by {who}" + (f" at {when}" if when else ""))
    return ""


def _look_again(context: Context, problem: Problem) -> str:
    """Nobody won, so what was looked at is another one by now."""
    if approval_id := problem.document.get("approval_id"):
        return f"Look at it: {context.command(f'approvals get {one_line(approval_id)}')}"
    return "It was changed meanwhile; look again." if problem.status == 412 else ""


def _field_errors(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs (where, what) of a validation problem, whose `errors` are objects or sentences."""
    errors = document.get("errors")
    found = []
    for error in errors if isinstance(errors, list) else []:
        if isinstance(error, Mapping):
            where = error.get("pointer") or error.get("parameter") or ""
            found.append((str(where).lstrip("/"), str(error.get("detail") or "")))
        else:
            found.append(("", str(error)))
    return found


def _starter() -> str:
    return "python3 manage.py serve"

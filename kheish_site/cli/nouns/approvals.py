"""`approvals`: tool calls that need a person's yes."""

from __future__ import annotations

from typing import Any, Literal

from kheish_site.cli.client import path
from kheish_site.cli.command import (
    BY_OWNER,
    PAGING,
    REASON,
    YES,
    Command,
    Context,
    arg,
    declined,
    given,
    listed,
)
from kheish_site.cli.edit import edited_input, show_diff
from kheish_site.cli.exits import CliError, Exit, UsageError
from kheish_site.cli.fields import pretty
from kheish_site.cli.resources import APPROVAL, show_list, show_one, status_style
from kheish_site.cli.text import one_line
from kheish_site.cli.transport import Problem
from kheish_site.cli.waiting import MASKED, allow_command, look_command
from kheish_site.lib.visible import visible

Behavior = Literal["allow", "deny"]
OF_ONE_CALL = (400, 403, 404, 409)  # the next call may still be decided


def list_approvals(context: Context) -> None:
    show_list(context, APPROVAL, path("approvals"), listed(context.args))


def get(context: Context) -> None:
    approval = context.client.get(path("approvals", context.args.approval_id))
    if context.args.unredacted:
        approval = _unmasked(context, approval)
    show_one(context, APPROVAL, approval)
    if context.out.mode == "human" and approval.get("input_masked"):
        context.out.word(f"{MASKED} All of it: {context.command(look_command(approval))}", "amber")
    if context.out.mode == "human" and approval.get("status") == "pending":
        context.out.word(f"Allow: {context.command(allow_command(approval['approval_id'], approval))}", "dim")


def _unmasked(context: Context, approval: dict[str, Any]) -> dict[str, Any]:
    """The approval with the exact input. Of an edited call that waits only what was asked is to be had."""
    exact = context.client.get(
        path("tool-calls", approval["call_id"], "unredacted"), query=given(context.args, "reason")
    )
    if exact["digest"] != approval["digest"]:
        export = context.command(f"runs export {approval['run_id']} --unredacted")
        raise CliError(
            "a voter changed the call: this shows only what the agent asked for", cure=f"See: {export}"
        )
    return approval | {"input": exact["input"], "input_masked": False}


def allow(context: Context) -> int:
    """Allow one call, changed first when asked to. What somebody edited is shown and confirmed."""
    args = context.args
    approval = context.client.get(path("approvals", args.approval_id))
    changes: dict[str, Any] = {}
    if context.interactive:
        _show_call(context, approval)
    if args.edit or args.set or args.input_file:
        changes = _changes(context, approval["input"])
    edited_by_others = bool(approval.get("edited")) and not args.digest
    asks = args.edit or (edited_by_others and context.interactive)
    with_edits = " with these edits" if changes else ""
    if asks and not context.confirm(f"Allow {args.approval_id}{with_edits}?"):
        return declined(context)
    looked_at = args.edit or (context.interactive and not args.yes)
    digest = {"digest": args.digest} if args.digest else _digest(approval, looked_at=looked_at)
    _show(context, _resolve(context, args.approval_id, _body(context, "allow") | digest | changes))
    return Exit.OK


def _changes(context: Context, before: dict[str, Any]) -> dict[str, Any]:
    after = edited_input(context, before)
    if after is not None:
        show_diff(context, before, after)
        return {"updated_input": after}
    if context.out.mode == "human":
        context.out.word("The input stays as it was.", "dim")
    return {}


def _digest(approval: dict[str, Any], *, looked_at: bool) -> dict[str, str]:
    """What binds a yes to this call. To an edited one that nobody looked at it is left out: then the service
    refuses.
    """
    digest = approval.get("digest")
    return {"digest": digest} if digest and (looked_at or not approval.get("edited")) else {}


def _show_call(context: Context, approval: dict[str, Any]) -> None:
    """The whole call on standard error, for whoever decides; what is invisible is written out."""
    out, risk = context.out, one_line(approval.get("risk") or "unknown")
    names = (approval["approval_id"], approval.get("session_id"), approval.get("tool_name"))
    title = "  ".join(one_line(visible(str(name))) for name in names)
    out.word(f"{title}  ({risk} risk)", "red" if risk == "high" else "bold")
    for line in pretty(approval.get("input") or {}).splitlines():
        out.word(f"  {line}")
    if approval.get("input_masked"):
        out.word(f"  {MASKED} All of it: {context.command(look_command(approval))}", "amber")
    if approval.get("edited"):
        out.word("  A voter changed it: this is not what the agent asked for.", "amber")


def deny(context: Context) -> None:
    _show(context, _resolve(context, context.args.approval_id, _body(context, "deny")))


def allow_all(context: Context) -> int:
    return _resolve_all(context, "allow")


def deny_all(context: Context) -> int:
    return _resolve_all(context, "deny")


def _resolve_all(context: Context, behavior: Behavior) -> int:
    """Decide what is pending now. What the service refuses is reported, and does not stop the rest."""
    args = context.args
    if not (args.session_id or args.run_id or args.everything):
        raise UsageError("of what?", cure="Give --session-id, --run-id or --everything.")
    query = {"status": "pending", **given(args, "session_id", "run_id")}
    pending = list(context.client.pages(path("approvals"), query=query))
    looked_at = bool(pending) and context.interactive and not args.yes
    if looked_at:
        for item in pending:
            _show_call(context, item)
        if not context.confirm(f"{behavior.capitalize()} these {len(pending)}?"):
            return declined(context)
    if not pending and context.out.mode == "human":
        context.out.word("Nothing was waiting.", "dim")
    decided: list[Any] = []
    refused: dict[str, Problem] = {}
    try:
        for item in pending:
            bound = _digest(item, looked_at=looked_at) if behavior == "allow" else {}
            try:
                decided.append(_resolve(context, item["approval_id"], _body(context, behavior) | bound))
            except Problem as problem:
                if problem.status not in OF_ONE_CALL:
                    raise
                refused[item["approval_id"]] = problem
                context.out.word(f"{item['approval_id']}: {problem.detail}", "amber")
    finally:
        _show_decided(context, decided, refused)
    if decided or not refused:
        return Exit.CONFLICT if refused else Exit.OK
    forbidden = all(problem.status == 403 for problem in refused.values())
    return Exit.NOT_ALLOWED if forbidden else Exit.CONFLICT


def _show_decided(context: Context, decided: list[Any], refused: dict[str, Problem]) -> None:
    if context.out.mode == "json":
        left = [
            {"approval_id": approval_id, "code": problem.code, "detail": problem.detail}
            for approval_id, problem in refused.items()
        ]
        context.out.document({"items": decided, "refused": left})
        return
    for item in decided:
        _show(context, item)


def _body(context: Context, behavior: Behavior) -> dict[str, Any]:
    return {"behavior": behavior, **given(context.args, "justification", "reason")}


def _resolve(context: Context, approval_id: str, body: dict[str, Any]) -> Any:
    return context.client.request("POST", path("approvals", approval_id, "resolve"), body)


def _show(context: Context, approval: dict[str, Any]) -> None:
    if context.out.mode != "human":
        show_one(context, APPROVAL, approval)
        return
    status = one_line(approval.get("status"))
    context.out.line(
        f"{approval['approval_id']}  {one_line(approval.get('tool_name') or '')}  {status}",
        status_style(status),
    )
    missing = int(approval.get("required_votes") or 1) - _votes(approval)
    if status == "pending" and missing > 0:
        context.out.word(f"Your vote is counted; {missing} more needed.", "amber")


def _votes(approval: dict[str, Any]) -> int:
    votes = approval.get("votes") or []
    return sum(vote.get("behavior") == "allow" and not vote.get("voided") for vote in votes)


APPROVAL_ID = arg("approval_id", metavar="APPROVAL", help="id of the approval")
WHY = (arg("--justification", metavar="TEXT", help="why this is right, for the record"), REASON)
ALL = (*BY_OWNER, arg("--everything", action="store_true", help="of every session"), *WHY, YES)

COMMANDS = (
    Command(
        noun="approvals",
        verb="list",
        help="list what waits for a yes",
        run=list_approvals,
        arguments=(
            *BY_OWNER,
            arg(
                "--status",
                default="pending",
                metavar="STATUS",
                help="pending (default), allowed, denied, expired, cancelled, all",
            ),
            *PAGING,
        ),
    ),
    Command(
        noun="approvals",
        verb="get",
        help="show one approval with its input",
        run=get,
        arguments=(
            APPROVAL_ID,
            arg("--unredacted", action="store_true", help="with the exact input, nothing masked; recorded"),
            REASON,
        ),
    ),
    Command(
        noun="approvals",
        verb="allow",
        help="allow a call, with changes if you like",
        run=allow,
        arguments=(
            APPROVAL_ID,
            arg("--digest", metavar="DIGEST", help="only the call of this digest, as `get` shows it"),
            arg("--edit", "-e", action="store_true", help="change the input in $EDITOR first"),
            arg("--set", metavar="KEY=JSON", action="append", help="change one argument; may be repeated"),
            arg(
                "--input-file",
                metavar="FILE",
                help="the whole input from a JSON file, or - for standard input",
            ),
            *WHY,
            YES,
        ),
    ),
    Command(noun="approvals", verb="deny", help="deny a call", run=deny, arguments=(APPROVAL_ID, *WHY)),
    Command(noun="approvals", verb="allow-all", help="allow all that wait", run=allow_all, arguments=ALL),
    Command(noun="approvals", verb="deny-all", help="deny all that wait", run=deny_all, arguments=ALL),
)

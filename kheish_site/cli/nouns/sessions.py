"""`sessions`: the durable conversations that runs belong to."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from kheish_site.cli import chain
from kheish_site.cli.client import path
from kheish_site.cli.command import (
    CURSOR,
    DELTAS,
    PAGING,
    REASON,
    YES,
    Argument,
    Command,
    Context,
    arg,
    declined,
    given,
    parse_json,
)
from kheish_site.cli.exits import Exit, UsageError
from kheish_site.cli.nouns.submitting import SUBMIT_ARGUMENTS, submit
from kheish_site.cli.resources import SESSION, show_list, show_one
from kheish_site.cli.timeline import Timeline

MODES = ("default", "acceptEdits", "bypassPermissions", "plan", "dontAsk")
SESSION_ID = arg("session_id", metavar="SESSION", help="id of the session")


def create(context: Context) -> None:
    args = context.args
    body = given(args, "session_id", "thread_id", "persona_id", "permission_mode", "unknown_effects")
    if args.route or args.model:
        body["route_policy"] = route_policy(args.route, args.model)
    session = context.client.request("POST", path("sessions"), body)
    show_one(context, SESSION, session)
    if context.out.mode == "human":
        context.out.word(
            f'Give it work: {context.command("sessions input " + session["session_id"])} "…"', "dim"
        )


def list_sessions(context: Context) -> None:
    show_list(context, SESSION, path("sessions"), given(context.args, "status", "persona_id"))


def get(context: Context) -> None:
    show_one(context, SESSION, context.client.get(path("sessions", context.args.session_id)))


def events(context: Context) -> None:
    session_id = context.args.session_id
    if context.args.follow:
        _follow(context, context.args.cursor or "0")
    else:
        show_events(context, path("sessions", session_id, "events"))


def stream(context: Context) -> None:
    if context.args.cursor is None and context.out.is_terminal:
        context.out.word("From now on; --cursor 0 begins at the start. Ctrl-C ends.", "dim")
    _follow(context, context.args.cursor)


def _follow(context: Context, cursor: str | None) -> None:
    timeline = Timeline(context.out, deltas=context.args.deltas)
    for event in context.client.sessions(context.args.session_id).stream(cursor):
        timeline.show(event)


def show_events(context: Context, events_path: str) -> None:
    """A journal, whole or one page from --cursor: lines for people, one document for programs."""
    query, cursor = given(context.args, "kind"), context.args.cursor
    if cursor is None:
        page: dict[str, Any] = {"items": list(context.client.pages(events_path, query=query))}
        page["pagination"] = {"has_more": False, "next_cursor": None, "total_count": len(page["items"])}
    else:
        page = context.client.page(events_path, query=query, limit=100, cursor=cursor)
    if context.out.mode == "json":
        context.out.document(page)
        return
    timeline = Timeline(context.out)
    for entry in page["items"]:
        if context.out.mode == "quiet":
            context.out.line(str(entry["seq"]))
        else:
            timeline.show_entry(entry)


def interrupt(context: Context) -> None:
    """Stop the active run, if there is one; queued runs stay."""
    session_id = context.args.session_id
    answer = context.client.request(
        "POST", path("sessions", session_id, "interrupt"), given(context.args, "reason")
    )
    if context.out.mode == "json":
        context.out.document(answer)
    elif answer.get("interrupted"):
        context.out.line(str(answer.get("run_id") or session_id))
        context.out.word("Interrupted.", "dim")
    elif context.out.mode == "human":
        context.out.word("Nothing was running.", "dim")


def end(context: Context) -> int:
    session_id = context.args.session_id
    if context.interactive and not context.confirm(f"End {session_id}? It takes no more work then."):
        return declined(context)
    body = given(context.args, "reason")
    show_one(context, SESSION, context.client.request("POST", path("sessions", session_id, "end"), body))
    return Exit.OK


def route_policy(route: str | None, model: str | None) -> dict[str, object]:
    """The policy `{route_id?, generation:{model}?}` of runs to come."""
    policy: dict[str, object] = {}
    if route:
        policy["route_id"] = route
    if model:
        policy["generation"] = {"model": model}
    return policy


def set_route(context: Context) -> None:
    args = context.args
    if not args.clear and not (args.route or args.model):
        raise UsageError("give --route, --model or --clear")
    policy = None if args.clear else route_policy(args.route, args.model)
    _change(context, "route-policy", {"route_policy": policy})


def set_persona(context: Context) -> None:
    args = context.args
    if args.clear == bool(args.persona_id):
        raise UsageError("give a persona, or --clear")
    _change(context, "persona", {"persona_id": args.persona_id})


def set_permission_mode(context: Context) -> None:
    mode = None if context.args.mode == "inherit" else context.args.mode
    _change(context, "permission-mode", {"permission_mode": mode})


def set_capability_scope(context: Context) -> None:
    _set_scope(context, "capability_scope")


def set_credential_scope(context: Context) -> None:
    _set_scope(context, "credential_scope")


def _set_scope(context: Context, name: str) -> None:
    args = context.args
    if args.clear == bool(args.scope):
        raise UsageError("give a scope, or --clear")
    scope = None if args.clear else parse_json(args.scope, what="the scope")
    _change(context, name.replace("_", "-"), {name: scope})


def verify(context: Context) -> int:
    """Recompute the hash chain here, from the entries alone: the service is not asked for its opinion."""
    session_id = context.args.session_id
    written = int(context.client.get(path("sessions", session_id)).get("next_seq") or 1) - 1
    verdict = chain.verify(context.client.sessions(session_id).events(), at_least=written)
    whole = verdict.broken_at is None
    if context.out.mode == "json":
        context.out.document({"session_id": session_id, "valid": whole, **asdict(verdict)})
    elif whole:
        context.out.line(f"{verdict.entries} entries, whole; head {verdict.head}", "green")
    else:
        context.out.line(f"broken at entry {verdict.broken_at}: {verdict.problem}", "red")
    return Exit.OK if whole else Exit.FAILED


def _change(context: Context, part: str, body: dict[str, object]) -> None:
    session_id = context.args.session_id
    session = context.client.change(
        path("sessions", session_id, part), body, resource=path("sessions", session_id)
    )
    show_one(context, SESSION, session)


ROUTE: tuple[Argument, ...] = (
    arg("--route", metavar="ROUTE", help="route of runs to come"),
    arg("--model", metavar="MODEL", help="model of runs to come"),
)
CLEAR = arg("--clear", action="store_true", help="back to the default")
SCOPE = arg("scope", metavar="JSON", nargs="?", help='lists of names, as {"skill_allow": ["git"]}')
FOLLOW = arg("--follow", "-f", action="store_true", help="go on as things happen")
EVENT_LIST = (
    arg("--kind", metavar="KIND", help="only this kind, as run.completed"),
    arg("--cursor", metavar="CURSOR", help="one page from here instead of everything"),
)

COMMANDS = (
    Command(
        noun="sessions",
        verb="create",
        help="make a session, or find it again by its name",
        run=create,
        arguments=(
            arg("session_id", metavar="NAME", nargs="?", help="a name of your choice (default: a new id)"),
            arg("--persona", dest="persona_id", metavar="PERSONA", help="persona to bind"),
            arg("--thread-id", metavar="ID", help="id of the outside conversation"),
            arg("--permission-mode", choices=MODES, help="how tools are allowed (default: the service's)"),
            arg("--unknown-effects", choices=("ask", "tell"), help="who decides when an effect is in doubt"),
            *ROUTE,
        ),
    ),
    Command(
        noun="sessions",
        verb="list",
        help="list sessions",
        run=list_sessions,
        arguments=(
            arg("--status", metavar="STATUS", help="idle, running, waiting_for_approval, …"),
            arg("--persona", dest="persona_id", metavar="PERSONA", help="bound to this persona"),
            *PAGING,
        ),
    ),
    Command(noun="sessions", verb="get", help="show one session", run=get, arguments=(SESSION_ID,)),
    Command(
        noun="sessions",
        verb="input",
        help="give a session work; answers at once with the run",
        run=submit,
        arguments=(SESSION_ID, *SUBMIT_ARGUMENTS),
    ),
    Command(
        noun="sessions",
        verb="events",
        help="print the journal of a session",
        run=events,
        arguments=(SESSION_ID, FOLLOW, DELTAS, *EVENT_LIST),
    ),
    Command(
        noun="sessions",
        verb="stream",
        help="follow a session as things happen",
        run=stream,
        arguments=(SESSION_ID, CURSOR, DELTAS),
    ),
    Command(
        noun="sessions",
        verb="interrupt",
        help="stop what the session is doing now",
        run=interrupt,
        arguments=(SESSION_ID, REASON),
    ),
    Command(
        noun="sessions",
        verb="end",
        help="end a session for good",
        run=end,
        arguments=(SESSION_ID, REASON, YES),
    ),
    Command(
        noun="sessions",
        verb="set-route",
        help="choose route or model of runs to come",
        run=set_route,
        arguments=(SESSION_ID, *ROUTE, CLEAR),
    ),
    Command(
        noun="sessions",
        verb="set-persona",
        help="bind another persona",
        run=set_persona,
        arguments=(
            SESSION_ID,
            arg("persona_id", metavar="PERSONA", nargs="?", help="id of the persona"),
            CLEAR,
        ),
    ),
    Command(
        noun="sessions",
        verb="set-permission-mode",
        help="choose how tools are allowed",
        run=set_permission_mode,
        arguments=(
            SESSION_ID,
            arg("mode", choices=(*MODES, "inherit"), help="inherit = as the service says"),
        ),
    ),
    Command(
        noun="sessions",
        verb="set-capability-scope",
        help="choose what the agent can see, while the session is idle",
        run=set_capability_scope,
        arguments=(SESSION_ID, SCOPE, CLEAR),
    ),
    Command(
        noun="sessions",
        verb="set-credential-scope",
        help="choose what the agent may use, while the session is idle",
        run=set_credential_scope,
        arguments=(SESSION_ID, SCOPE, CLEAR),
    ),
    Command(
        noun="sessions",
        verb="verify",
        help="check the hash chain of the journal",
        run=verify,
        arguments=(SESSION_ID,),
    ),
)

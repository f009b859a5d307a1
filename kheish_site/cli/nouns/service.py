"""Commands about the service as a whole: `events`, `status`, `capabilities`, `doctor`."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kheish_site.cli.client import path
from kheish_site.cli.command import CURSOR, DELTAS, Command, Context, arg, given
from kheish_site.cli.config import is_loopback
from kheish_site.cli.exits import Exit
from kheish_site.cli.failures import explain_unreachable
from kheish_site.cli.output import Style
from kheish_site.cli.text import age, one_line, span
from kheish_site.cli.timeline import Timeline
from kheish_site.cli.transport import Problem, Unreachable

Check = tuple[bool, str, str]  # good?, what was looked at, what to do


def events(context: Context) -> None:
    if context.args.cursor is None and context.out.is_terminal:
        context.out.word("From now on; --cursor 0 begins at the start. Ctrl-C ends.", "dim")
    timeline = Timeline(context.out, deltas=context.args.deltas, with_session=True)
    query = given(context.args, "session_id", "run_id")
    for event in context.client.stream(path("events", "stream"), query=query, cursor=context.args.cursor):
        timeline.show(event)


def status(context: Context) -> None:
    answer = context.client.get(path("status"))
    if context.out.mode == "json":
        context.out.document(answer)
        return
    context.out.record({"url": context.connection.base_url, **_in_words(answer)})
    _warn_version(context, answer)
    for warning in _warnings(answer):
        context.out.word(f"{one_line(warning.get('message') or warning.get('code'))}", "amber")


def _in_words(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer with a line for each part; what another version adds stays as it is."""
    runtime = answer.get("runtime") or {}
    problems = (answer.get("provider_readiness") or {}).get("problems") or []
    settings = (("permission_mode", "mode"), ("revision", "settings revision"))
    ours = {"status", "ready", "uptime_seconds", "workers", "runtime", "provider_readiness", "health", "time"}
    return {
        "service": f"{answer.get('status')}, up {span(answer.get('uptime_seconds') or 0)}",
        **{name: _counts(part) for name, part in answer.items() if name not in ours},
        "workers": [_worker(row) for row in answer.get("workers") or ()] or "none",
        "model": _model(runtime, problems),
        "permissions": ", ".join(f"{words} {runtime.get(name)}" for name, words in settings),
    }


def _model(runtime: Mapping[str, Any], problems: Sequence[object]) -> str:
    route = runtime.get("default_route")
    named = f"{route}/{runtime.get('model')}" if route else "none"
    return "; ".join(one_line(words) for words in (named, *problems))


def _counts(part: Any) -> Any:
    """Numbers as `2 queued, 1 running`, those of zero left out; anything else as it is."""
    if not isinstance(part, Mapping) or not all(type(number) is int for number in part.values()):
        return part
    return ", ".join(_number(number, name) for name, number in part.items() if number) or "none"


def _number(number: int, name: str) -> str:
    words = name.replace("_", " ")
    return f"{number} {words.removesuffix('s') if number == 1 else words}"


def _worker(row: Mapping[str, Any]) -> str:
    state = "silent" if not row.get("alive") else "stopping" if row.get("draining") else "alive"
    host, pid = str(row.get("host")).partition("/")[0], row.get("pid")
    return f"{host} process {pid}: {state}, {row.get('slots')} slots, heard {age(row.get('heartbeat_at'))}"


def capabilities(context: Context) -> None:
    answer = context.client.get(path("capabilities"))
    if context.out.mode == "json":
        context.out.document(answer)
    else:
        context.out.record(answer)


def doctor(context: Context) -> int:
    """Look at everything between this terminal and a completed run; exit 1 unless all is well."""
    checks = list(_checks(context))
    if context.out.mode == "json":
        names = ("ok", "check", "cure")
        context.out.document({"items": [dict(zip(names, check, strict=True)) for check in checks]})
    else:
        for good, looked_at, cure in checks:
            style: Style = "green" if good else "red"
            icon = context.out.icon("✔", "+") if good else context.out.icon("✘", "x")
            context.out.line(f"{icon} {looked_at}", style)
            if cure:
                context.out.line(f"    {cure}")
    return Exit.OK if all(good for good, _, _ in checks) else Exit.FAILED


def _checks(context: Context) -> Iterator[Check]:
    connection = context.connection
    yield True, f"address {connection.base_url} (from {connection.url_source})", ""
    yield _token_check(context)
    if connection.token and connection.base_url.startswith("http:") and not is_loopback(connection.base_url):
        yield False, "the token travels unencrypted", "Use an https address."
    try:
        ready = context.client.get("/readyz")
        yield True, f"the service is {one_line(ready)}", ""
        answer = context.client.get(path("status"))
    except Unreachable as error:
        yield False, f"nobody answers: {error.reason}", explain_unreachable(context, error).cure
        return
    except Problem as problem:
        cure = "Sign in: set KHEISH_TOKEN or --token-file." if problem.status in (401, 403) else ""
        yield False, f"the service answers {problem.status}: {problem.detail}", cure
        return
    yield True, "signed in", ""
    for warning in _warnings(answer):
        yield (
            False,
            one_line(warning.get("message") or warning.get("code")),
            one_line(warning.get("action") or ""),
        )
    yield from _route_checks(context)


def _token_check(context: Context) -> Check:
    connection = context.connection
    if not connection.token:
        return False, "no token found", "Set KHEISH_TOKEN, or run where `serve` keeps its .kheish folder."
    file = Path(connection.token_source)
    if file.is_file() and stat.S_IMODE(file.stat().st_mode) & 0o077:
        return False, f"others can read {file}", f"chmod 600 {file}"
    return True, f"token from {connection.token_source}", ""


def _route_checks(context: Context) -> Iterator[Check]:
    routes = list(context.client.pages(path("routes")))
    if not routes:
        yield False, "no route to a model", f"Make one: {context.command('routes create --help')}"
    for route in routes:
        problems = "; ".join(one_line(_text(problem)) for problem in route.get("problems") or [])
        state = route.get("status", "ok")
        yield state != "error", f"route {route['route_id']}: {one_line(state)}", problems


def _text(problem: object) -> object:
    return problem.get("message") or problem.get("detail") if isinstance(problem, Mapping) else problem


def _warnings(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((answer.get("health") or {}).get("warnings") or [])


def _warn_version(context: Context, answer: Mapping[str, Any]) -> None:
    from importlib import metadata  # here for start-up cost: 30 ms that only this command needs

    theirs = answer.get("version")
    try:
        ours = metadata.version("kheish")
    except metadata.PackageNotFoundError:
        return  # run from a checkout: the same files as the service
    if theirs and theirs != ours:
        context.out.word(f"This client is version {ours}, the service {one_line(theirs)}.", "amber")


COMMANDS = (
    Command(
        noun="events",
        verb="",
        help="follow everything the service does",
        run=events,
        arguments=(
            arg("--session-id", metavar="SESSION", help="only this session"),
            arg("--run-id", metavar="RUN", help="only this run"),
            CURSOR,
            DELTAS,
            arg("--follow", "-f", action="store_true", help="always on; for symmetry"),
        ),
    ),
    Command(noun="status", verb="", help="how the service is", run=status),
    Command(noun="doctor", verb="", help="find out why something does not work", run=doctor),
    Command(noun="capabilities", verb="", help="what this version can do", run=capabilities),
)

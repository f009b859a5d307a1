"""Following a run to its end: `runs watch|stream|wait`, `sessions input --follow|--wait`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kheish_site.cli.client import RUN_ENDED, SETTLED, path
from kheish_site.cli.command import Context
from kheish_site.cli.exits import Exit, TimedOut
from kheish_site.cli.output import Style
from kheish_site.cli.resources import RUN, show_one
from kheish_site.cli.text import clean, one_line, parse_time, span
from kheish_site.cli.timeline import Timeline, kind_of
from kheish_site.cli.waiting import announce, is_waiting, waits_for

Run = Mapping[str, Any]


def watch_run(context: Context, run_id: str, *, show: bool, cursor: str = "0") -> int:
    """Follow the run from `cursor` until it settles; with `show` print its entries. Returns the exit code.

    Needs --timeout, --exit-on-wait and --exit-status among the arguments of the command.
    """
    deadline = context.deadline()
    timeline = Timeline(context.out, deltas=getattr(context.args, "deltas", False))
    announced: list[tuple[str, str]] = []
    try:
        for event in context.client.runs(run_id).stream(cursor=cursor, deadline=deadline):
            if event.name == RUN_ENDED:
                break
            if show:
                timeline.show(event)
            if kind_of(event) != "run.waiting":
                continue
            run = context.client.patient_get(path("runs", run_id), deadline=deadline)
            if is_waiting(run) and waits_for(run) != announced:  # replayed waits are over by now
                announced = waits_for(run)
                timeline.close()
                announce(context, run)
                if context.args.exit_on_wait:
                    return _stop_for_person(context, run, show)
    except TimedOut as error:
        raise _too_late(context, run_id) from error
    except KeyboardInterrupt:
        timeline.close()
        again = context.command(f"runs watch {run_id}")
        context.out.word(f"The run goes on without you. Watch it again: {again}", "dim")
        raise
    timeline.close()
    return finish(context, context.client.patient_get(path("runs", run_id), deadline=deadline), shown=show)


def finish(context: Context, run: Run, *, shown: bool) -> int:
    """Report a settled run. `shown`: its entries were printed already, so data is not repeated."""
    if not shown:
        if context.out.mode == "human":
            _print_outputs(context, run)
        else:
            show_one(context, RUN, run)
    if context.out.mode == "human":
        context.out.word(summary(context, run), _style(run))
    if run.get("status") == "completed" or not context.args.exit_status:
        return Exit.OK
    return Exit.RUN_ENDED_BADLY


def summary(context: Context, run: Run) -> str:
    """One line: how the run ended, after how long, at what cost."""
    icon = context.out.icon("✔", "+") if run.get("status") == "completed" else context.out.icon("✘", "x")
    parts = [f"{icon} {run['run_id']} {run.get('status')}"]
    begun, ended = parse_time(run.get("submitted_at")), parse_time(run.get("finished_at"))
    if begun and ended:
        parts.append(f"in {span((ended - begun).total_seconds())}")
    if run.get("step"):
        parts.append(f"{run['step']} steps")
    usage = run.get("usage") or {}
    if usage.get("input_tokens") or usage.get("output_tokens"):
        parts.append(f"{usage.get('input_tokens', 0)} tokens in, {usage.get('output_tokens', 0)} out")
    error = run.get("error") or {}
    if error:
        parts.append(one_line(f"{error.get('code', '')}: {error.get('message', '')}"))
    return " · ".join(parts)


def _stop_for_person(context: Context, run: Run, shown: bool) -> int:
    if not shown and context.out.mode != "human":
        show_one(context, RUN, run)
    return Exit.WAITS_FOR_PERSON


def _too_late(context: Context, run_id: str) -> TimedOut:
    return TimedOut(
        f"timed out; {run_id} goes on", cure=f"Watch it: {context.command(f'runs watch {run_id}')}"
    )


def _print_outputs(context: Context, run: Run) -> None:
    for output in run.get("outputs") or []:
        text = clean(output.get("content") or "").rstrip("\n")
        if text:
            context.out.line(text)


def _style(run: Run) -> Style:
    if run.get("status") == "completed":
        return "green"
    return "red" if run.get("status") in SETTLED else ""

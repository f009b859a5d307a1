"""Permission decisions for the calls of a run, by the rules that are in force."""

from collections.abc import Callable
from typing import cast

from sessions_app.models import Run, Session
from sessions_app.services import runtime_settings
from sessions_app.tools import policy
from sessions_app.tools.policy import Decision, Mode, Rule

Judge = Callable[[str], Decision]


def judge_for(run: Run) -> Judge:
    """Return the decision function for the calls of ``run``: its pinned mode, its session's rules."""
    rules = rules_for(run.session)
    mode = cast(Mode, run.permission_mode)  # checked when it was set

    def judge(tool_name: str) -> Decision:
        return policy.decide(tool_name=tool_name, mode=mode, rules=rules)

    return judge


def rules_for(session: Session | None) -> tuple[Rule, ...]:
    """Return the rules of the session and of the daemon (project and user scope)."""
    live = runtime_settings.current()
    own = policy.parse_rules("session", session.permission_rules) if session is not None else ()
    return (
        *own,
        *policy.parse_rules("project", list(live.project_rules)),
        *policy.parse_rules("user", list(live.user_rules)),
    )

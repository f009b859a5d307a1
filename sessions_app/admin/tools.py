"""Tools and policies: what each tool does and may do unasked, and how people decided about its calls."""

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from kheish_site.console.site import site
from sessions_app.admin import addresses, permits, show
from sessions_app.admin.base import Section
from sessions_app.models import Approval, RuntimeRevision
from sessions_app.services import approval_habits, permission_explain
from sessions_app.services.approval_habits import Habit
from sessions_app.tools import registry
from sessions_app.tools.policy import default_risk

TEMPLATE: Final = "sessions_app/admin/tools.html"
_BEHAVIORS: Final = {"allow": ("good", "allowed"), "ask": ("wait", "asks"), "deny": ("calm", "denied")}


def tools_view(request: HttpRequest) -> HttpResponse:
    """Two tables: how people decide, which may suggest another rule, and the rules that are in force."""
    permits.require_view(request)
    explained = permission_explain.matrix()
    context = {
        **site().each_context(request),
        "title": "Tools",
        "console_mode": explained["effective_mode"],
        "console_sections": (_habits(), _rules(explained)),
        "console_settings_url": addresses.of_list(RuntimeRevision),
    }
    return TemplateResponse(request, TEMPLATE, context)


def _habits() -> Section:
    rows = [
        (
            show.to_list(Approval, habit.tool_name, tool_name__exact=habit.tool_name),
            habit.asked,
            habit.allowed,
            habit.edited,
            habit.denied,
            habit.expired,
            habit.open,
            show.NOTHING if habit.median_seconds is None else show.took(habit.median_seconds),
            _suggestion(habit),
        )
        for habit in approval_habits.habits()
    ]
    return Section(
        title=f"Asked of people in the last {approval_habits.DAYS} days",
        columns=(
            "tool", "asked", "approved", "with edits", "denied", "expired", "open", "half decided within", "",
        ),
        rows=rows,
        empty="No call was asked about. Tools whose rule says ask appear here, with what people decided.",
        css="kh-numbers",
    )  # fmt: skip


def _suggestion(habit: Habit) -> str:
    if habit.always_allowed:
        return f"approved {habit.allowed} of {habit.asked}: lower its risk, or allow it?"
    if habit.expired * 2 > habit.asked:
        return "most expired: nobody saw them in time"
    return ""


def _rules(explained: dict[str, Any]) -> Section:
    mode, tools = explained["effective_mode"], registry.all_tools()
    rows = [
        (
            name,
            _behavior(by_mode[mode]["decision"]),
            show.risk(by_mode[mode]["risk"] or default_risk(name)),
            tools[name].spec.effect,
            show.redact(by_mode[mode]["reason"]) or show.NOTHING,
        )
        for name, by_mode in explained["tools"].items()
    ]
    columns = ("tool", "without a rule of the session", "risk", "effect", "why")
    return Section(title="What is in force", columns=columns, rows=rows)


def _behavior(decision: str) -> Any:
    colour, words = _BEHAVIORS[decision]
    return show.badge_as(colour, words)


site().page("tools/", "console_tools", tools_view)

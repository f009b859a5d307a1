"""What the console's templates ask for: the counts beside the menu, the overview, the menu itself."""

from typing import Any, Final

from django import template
from django.contrib import admin
from django.http import HttpRequest

from sessions_app.admin import overview as overviews
from sessions_app.admin.caller import principal
from sessions_app.admin.overview import Overview, Waiting

register = template.Library()

GROUPS: Final = (
    ("Operate", ("approval", "userquestion", "operatordecision", "run", "session", "shelltask", "worker")),
    ("Connect", ()),
    ("Configure", ("persona", "route", "secretslot", "apitoken", "runtimerevision", "user", "group")),
    (
        "Evidence",
        (
            "journalentry", "toolcall", "step", "checkpoint", "approvalvote", "personarevision",
            "storedresult", "taskoutput", "idempotencyrecord", "ticklease",
        ),
    ),
)  # fmt: skip
"""The menu by job. A table that is named nowhere comes last in the group its page chose (``menu``), under
Evidence when it chose none, so that none is lost."""


@register.simple_tag(takes_context=True)
def console_waiting(context: dict[str, Any]) -> Waiting:
    """Return how much waits for a person, counted once a request; zeros for people who may not look."""
    request: HttpRequest = context["request"]
    known: Waiting | None = getattr(request, "console_waiting", None)
    if known is None:
        may = principal(request).can_view
        known = overviews.waiting() if may else Waiting(approvals=0, questions=0, decisions=0)
        request.console_waiting = known  # type: ignore[attr-defined]
    return known


@register.simple_tag(takes_context=True)
def console_overview(context: dict[str, Any]) -> Overview | None:
    """Return the top of the first page, or None for people without any role."""
    if not principal(context["request"]).can_view:
        return None
    return overviews.overview(console_waiting(context))


@register.simple_tag(takes_context=True)
def console_menu(context: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the menu: ``[{title, links: [{name, url, current}]}]``, only what this person may see."""
    path = context["request"].path
    models = {
        model["object_name"].lower(): model for app in context["available_apps"] for model in app["models"]
    }
    named = {name for _, names in GROUPS for name in names}
    groups = []
    for title, names in GROUPS:
        rest = [name for name in models if name not in named and _group(models[name]) == title]
        links = [_link(models[name], path) for name in (*names, *rest) if name in models]
        if links:
            groups.append({"title": title, "links": links})
    return groups


def _group(model: dict[str, Any]) -> str:
    chosen = getattr(admin.site.get_model_admin(model["model"]), "menu", "")
    return chosen if any(chosen == title for title, _ in GROUPS) else "Evidence"


def _link(model: dict[str, Any], path: str) -> dict[str, Any]:
    page = admin.site.get_model_admin(model["model"])
    url = model["admin_url"] or ""
    name = getattr(page, "plural", "") or model["name"]
    return {"name": name, "url": url, "current": bool(url) and path.startswith(url)}

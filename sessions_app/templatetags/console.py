"""What the console's templates ask for: how much waits, the navigation, pictures of the sprite."""

from typing import Any, Final

from django import template
from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from kheish_site.cli.words import KINDS
from kheish_site.lib import clock
from sessions_app.admin import inbox, show
from sessions_app.admin.caller import principal
from sessions_app.admin.inbox import Waiting

register = template.Library()

OPERATE: Final = "Operate"
GOVERN: Final = "Govern"
GROUPS: Final = (
    (OPERATE, ("delivery", "shelltask")),
    (
        "Configure",
        ("persona", "route", "secretslot", "connector", "deliverytarget", "chatidentity", "runtimerevision"),
    ),
    (
        GOVERN,
        (
            "approval", "userquestion", "operatordecision", "auditentry", "externalaction", "worker",
            "apitoken", "user",
        ),
    ),
)  # fmt: skip
"""The navigation by job. Tables that are named nowhere fold into "More tables", so that none is lost."""

_PAGES: Final = {
    "Configure": ("Tools", "admin:console_tools", "wrench"),
    GOVERN: ("Health", "admin:console_health", "pulse"),
}
"""Pages of our own that lead a group."""

_TABBED: Final = frozenset({"run", "session"})
"""Tables that the tabs lead to."""

_ICONS: Final = {
    "delivery": "send", "shelltask": "terminal", "persona": "person",
    "route": "route", "secretslot": "key", "connector": "plug", "deliverytarget": "target",
    "chatidentity": "person", "runtimerevision": "sliders", "approval": "shield", "userquestion": "question",
    "operatordecision": "scale", "externalaction": "outward", "worker": "cpu", "apitoken": "key",
    "user": "users", "auditentry": "list",
}  # fmt: skip


@register.simple_tag(takes_context=True)
def console_waiting(context: dict[str, Any]) -> Waiting:
    """Return how much waits for a person, counted once a request; zero for people who may not look."""
    return inbox.waiting_for(context["request"])


@register.simple_tag(takes_context=True)
def console_bell(context: dict[str, Any]) -> dict[str, str]:
    """Return the stream that tells every page that something happened; "" for people who may not look."""
    if not principal(context["request"]).can_view:
        return {"url": "", "kinds": "", "drawn": ""}
    drawn = clock.rfc3339(clock.now()) or ""
    return {"url": reverse("event-stream"), "kinds": ",".join(KINDS), "drawn": drawn}


@register.simple_tag
def icon(name: str) -> SafeString:
    """Return a picture of the sprite."""
    return show.icon(name)


@register.filter
def ago(moment: Any) -> Any:
    """Return how long ago a moment is, the exact time on pointing."""
    return show.age(moment)


@register.filter
def short_id(public_id: str) -> SafeString:
    """Return an id that fits a line."""
    return show.short(public_id)


@register.filter
def badge(status: str) -> SafeString:
    """Return a status as word, icon and colour."""
    return show.badge(status)


@register.filter
def risk(level: str) -> SafeString:
    """Return a risk as word, icon and colour."""
    return show.risk(level)


@register.simple_tag(takes_context=True)
def console_menu(context: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the navigation: ``[{title, links: [{name, url, icon, current}], folded}]``.

    It holds only what this person may see.
    """
    request: HttpRequest = context["request"]
    path = request.path
    models = {
        model["object_name"].lower(): model
        for app in context.get("available_apps") or ()
        for model in app["models"]
    }
    named = _TABBED | {name for _, names in GROUPS for name in names}
    groups = []
    for title, names in GROUPS:
        links = [_link(name, models[name], path) for name in names if name in models]
        if title in _PAGES and principal(request).can_view:
            name, view, picture = _PAGES[title]
            there = reverse(view)
            links.insert(0, {"name": name, "url": there, "icon": picture, "current": path == there})
        if links or title == OPERATE:
            groups.append({"title": title, "links": links, "first": title == OPERATE})
    rest = [_link(name, model, path) for name, model in models.items() if name not in named]
    if rest:
        rest.sort(key=lambda link: link["name"])
        groups.append(
            {"title": "More tables", "links": rest, "folded": True, "open": any(r["current"] for r in rest)}
        )
    return groups


@register.simple_tag(takes_context=True)
def console_tabs(context: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the four pages people need most, for the first group and for the bar under the thumb."""
    path, home = context["request"].path, reverse("admin:index")
    urls = {
        "Home": (home, "home"),
        "Inbox": (reverse("admin:console_inbox"), "inbox"),
        "Runs": (reverse("admin:sessions_app_run_changelist"), "play"),
        "Sessions": (reverse("admin:sessions_app_session_changelist"), "chat"),
    }
    return [
        {
            "name": name,
            "url": url,
            "icon": shown,
            "current": path == url if url == home else path.startswith(url),
        }
        for name, (url, shown) in urls.items()
    ]


@register.simple_tag
def console_choices(cl: Any, spec: Any) -> dict[str, Any]:
    """Return the choices of a filter, the one that is chosen, and whether it narrows the list."""
    found = list(spec.choices(cl))
    chosen = next((number for number, choice in enumerate(found) if choice["selected"]), 0)
    return {"all": found, "now": found[chosen]["display"] if found else "", "active": chosen > 0}


def _link(name: str, model: dict[str, Any], path: str) -> dict[str, Any]:
    page = admin.site.get_model_admin(model["model"])
    url = model["admin_url"] or ""
    return {
        "name": getattr(page, "plural", "") or model["name"],
        "url": url,
        "icon": _ICONS.get(name, "table"),
        "current": bool(url) and path.startswith(url),
    }

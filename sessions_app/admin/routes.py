"""Routes to models: written by verbs, because a route must be checked against the others and its driver."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin
from sessions_app.admin.forms import JsonArea, RevisedForm, last_hand, names_of, still_shown, unmasked
from sessions_app.admin.personas import NAME
from sessions_app.admin.verbs import Cleaned, Outcome, Verb
from sessions_app.models import Role, Route
from sessions_app.providers import registry
from sessions_app.services import routes, runs, sessions
from sessions_app.services.principal import Principal
from sessions_app.services.routes import RouteFields

TEST_INPUT = "Answer with the one word: ready."


def _drivers() -> list[tuple[str, str]]:
    return [(name, name) for name in registry.drivers()]


class RouteForm(forms.Form):
    """What an operator writes of a route."""

    driver = forms.ChoiceField(choices=_drivers)
    base_url = forms.CharField(
        max_length=500, required=False, help_text="Empty for the driver's own address."
    )
    model = forms.CharField(max_length=200, required=False)
    auth_ref = forms.CharField(
        max_length=200, required=False, help_text="Name of a secret slot, never a key."
    )
    fallbacks = forms.CharField(
        max_length=2_000, required=False, help_text="Routes to try after it, in order."
    )
    options = JsonArea(rows=6, required=False)


class ChangedRouteForm(RevisedForm, RouteForm):
    """What a route becomes."""


class NewRouteForm(RouteForm):
    """A route that is not there yet."""

    route_id = forms.CharField(max_length=200, validators=[NAME], help_text="Its name for good.")
    default = forms.BooleanField(required=False, label="Make it the default")
    field_order = ("route_id",)


def _fields(cleaned: Cleaned) -> dict[str, Any]:
    given = {name: cleaned[name] for name in RouteFields.__dataclass_fields__}
    return given | {"fallbacks": names_of(cleaned["fallbacks"])}


def _create(row: None, cleaned: Cleaned, principal: Principal) -> Outcome:
    fields = RouteFields(**_fields(cleaned))
    return Outcome(row=routes.create(cleaned["route_id"], fields, default=cleaned["default"]))


def _change(row: Route, cleaned: Cleaned, principal: Principal) -> Outcome:
    with still_shown(cleaned, row.revision, last_hand("route", row.route_id)):
        fields = unmasked(_fields(cleaned), {"options": row.options})
        changed = routes.update(row.route_id, fields, expected=frozenset({cleaned["revision"]}))
    return Outcome(row=changed)


def _make_default(row: Route, cleaned: Cleaned, principal: Principal) -> Outcome:
    return Outcome(row=routes.set_default(row.route_id))


def _delete(row: Route, cleaned: Cleaned, principal: Principal) -> Outcome:
    routes.delete(row.route_id, expected=frozenset({row.revision}))
    return Outcome(row=Route())


def _test(row: Route, cleaned: Cleaned, principal: Principal) -> Outcome:
    session_id = f"test-{row.route_id}"[:200]
    sessions.create(sessions.NewSession(session_id=session_id), principal=principal.name)
    new = runs.NewRun(content=TEST_INPUT, route_id=row.route_id, actor_id=principal.name)
    return Outcome(
        row=runs.submit(session_id, new, principal=principal.name), word="the test run is accepted"
    )


def _initial(row: Route) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in RouteFields.__dataclass_fields__}
    return values | {"fallbacks": ", ".join(row.fallbacks), "revision": row.revision}


CREATE = Verb(
    name="route",
    label="New route",
    past="made",
    act=_create,
    role=Role.ADMIN,
    form=NewRouteForm,
    keyed=True,
)
CHANGE = Verb(
    name="change",
    label="Change",
    past="changed",
    act=_change,
    role=Role.ADMIN,
    form=ChangedRouteForm,
    initial=_initial,
    many=False,
    explain="Runs keep the route and model they were created with; address and key are read at each call.",
)
DEFAULT = Verb(
    name="default",
    label="Make default",
    past="made the default",
    act=_make_default,
    role=Role.ADMIN,
    applies=lambda row: not row.is_default,
    many=False,
    explain="New runs go here unless their session or they themselves say otherwise.",
)
TEST = Verb(
    name="test",
    label="Test",
    past="tested",
    act=_test,
    keyed=True,
    role=Role.ADMIN,
    applies=lambda row: not _problems(row),
    many=False,
    explain="Makes a real run in a session of its own that asks the model for one word. A few tokens.",
)
DELETE = Verb(
    name="delete",
    label="Delete",
    past="deleted",
    act=_delete,
    role=Role.ADMIN,
    tone="danger",
    many=False,
    explain="Queued runs that pinned it will fail; they are never moved to another one.",
)


@admin.register(Route)
class RouteAdmin(ConsoleAdmin):
    """Ways to a model."""

    plural, singular, public_id = "Routes", "Route", "route_id"
    empty = "No route. Make one, or start the service once: it makes a scripted one that works offline."
    verbs, creates = (TEST, CHANGE, DEFAULT, DELETE), (CREATE,)

    list_display = ("route_id", "readiness", "chosen", "driver", "model", "auth_ref", "changed")
    list_filter = ("is_default",)
    search_fields = ("route_id__startswith", "model__startswith")
    search_help_text = "The beginning of a name or of a model"
    fields = (
        "route_id", "problems", "driver", "base_url", "model", "auth_ref", "fallbacks_json", "options_json",
        "chosen", "revision", "born", "changed",
    )  # fmt: skip
    changed = show.age_of("updated_at", "changed")
    born = show.age_of("created_at", "created")
    fallbacks_json = show.json_of("fallbacks")
    options_json = show.json_of("options")

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Judge the readiness of all shown routes with one query."""
        shown = super().get_changelist_instance(request)
        problems = routes.readiness_of(shown.result_list)
        for row in shown.result_list:
            row.console_problems = problems[row.route_id]
        return shown

    @admin.display(description="status")
    def readiness(self, row: Route) -> SafeString:
        """Whether it can be called now."""
        return show.badge("missing" if _problems(row) else "ok")

    @admin.display(description="default")
    def chosen(self, row: Route) -> SafeString | str:
        """Whether new runs go here."""
        return show.badge("default") if row.is_default else show.NOTHING

    @admin.display(description="problems")
    def problems(self, row: Route) -> str:
        """Why it cannot be called, and what of it has no effect."""
        return "; ".join([*_problems(row), *routes.doubts(row)]) or "none"

    def status_line(self, row: Route) -> Sequence[Any]:
        """Readiness and whether it is the default."""
        return (self.readiness(row), self.chosen(row))


def _problems(row: Route) -> list[str]:
    known: list[str] | None = getattr(row, "console_problems", None)
    return routes.readiness(row) if known is None else known

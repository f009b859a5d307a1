"""Filters whose choices come from small tables or from the code, never from a scan of a large one."""

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

from kheish_site.cli.words import KINDS
from sessions_app.admin import show
from sessions_app.models import LIVE, WAITING, Persona, Route


class _Choice(admin.SimpleListFilter):
    """A filter by one value of ``column``."""

    column: ClassVar[str] = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep the rows with the chosen value."""
        value = self.value()
        return queryset.filter(**{self.column: value}) if value else queryset


class ByRoute(_Choice):
    """By the route a run is pinned to."""

    title, parameter_name, column = "route", "route", "route_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The routes there are now."""
        return [(name, name) for name in Route.objects.values_list("route_id", flat=True)]


class ByPersona(_Choice):
    """By the persona that is bound."""

    title, parameter_name, column = "persona", "persona", "persona__persona__persona_id"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """All personas."""
        return [(name, name) for name in Persona.objects.values_list("persona_id", flat=True)]


class ByNoun(_Choice):
    """By what a journal entry is about: the part of its kind before the dot."""

    title, parameter_name, column = "about", "about", "kind__startswith"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """All nouns."""
        return [(f"{noun}.", noun) for noun in dict.fromkeys(kind.partition(".")[0] for kind in KINDS)]


class ByStatus(admin.ChoicesFieldListFilter):
    """By status, in the words of the badges."""

    def choices(self, changelist: Any) -> Iterator[Any]:
        """All statuses."""
        everything, *each = super().choices(changelist)
        yield everything
        for (status, _), choice in zip(self.field.flatchoices, each, strict=True):
            yield {**choice, "display": show.words_of(status).capitalize()}


class ByLiveness(admin.SimpleListFilter):
    """Runs that are not over, and those that wait."""

    title, parameter_name = "needs", "needs"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """Not over, or waiting for somebody."""
        return (("live", "not over"), ("waiting", "waits for somebody"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep those runs."""
        wanted = {"live": LIVE, "waiting": WAITING}.get(self.value() or "")
        return queryset.filter(status__in=sorted(wanted)) if wanted else queryset


class BySessionState(admin.SimpleListFilter):
    """Sessions by what is going on in them, answered by the session row alone."""

    title, parameter_name = "state", "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        """The states that the row itself knows."""
        return (
            ("waiting", "waits for somebody"),
            ("queued", "has work queued"),
            ("driven", "driven by a worker"),
            ("stale", "lease ran out"),
            ("ended", "ended"),
        )

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep those sessions."""
        held = ~Q(lease_owner="")
        wanted = {
            "waiting": Q(blocked=True),
            "queued": Q(queued_runs__gt=0),
            "driven": held & Q(lease_expires_at__gt=Now()),
            "stale": held & Q(lease_expires_at__lte=Now()),
            "ended": Q(ended_at__isnull=False),
        }.get(self.value() or "")
        return queryset.filter(wanted) if wanted is not None else queryset

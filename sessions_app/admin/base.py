"""The read-only base of every page. The engine owns the rows; people read them and use verbs.

The admin's own change form would let somebody set a run's status in a drop-down, and the journal would no
longer be true. So no form here adds, changes or deletes a row: ``verbs`` call services.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern

from sessions_app.admin import addresses, permits, show
from sessions_app.admin.caller import principal
from sessions_app.admin.verb_pages import VerbPages
from sessions_app.admin.verbs import Verb
from sessions_app.models import Role

COUNTED: Final = 5_000
"""Rows a list counts at most; filters find what lies beyond."""


class BoundedPaginator(Paginator):
    """Counts no further than ``COUNTED``, so that a list of a large table costs what a small one does."""

    @cached_property
    def count(self) -> int:
        """The number of rows, up to the bound."""
        rows: Any = self.object_list
        return int(rows.order_by()[:COUNTED].count())


@dataclass(frozen=True, kw_only=True)
class Section:
    """A table below the facts of a page: rows that belong to the page's row, with a link to all of them.

    Without rows it shows ``empty``, or is left out when that is "".
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    more: Any = ""
    empty: str = ""
    css: str = ""
    body: Any = ""
    """Markup shown instead of the table."""

    def labelled(self) -> list[list[tuple[str, Any]]]:
        """Return the rows, each cell with the name of its column: on a phone the headings are hidden."""
        return [list(zip(self.columns, row, strict=False)) for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class StatusTab:
    """A tab above a list: a filter in frequent use, with the number of its rows."""

    name: str
    url: str
    current: bool
    number: int | str | None = None


class Rows(ChangeList):
    """A list that links its rows as every other page does."""

    def url_for_result(self, result: Model) -> str:
        """Return the address of the page of a row."""
        return addresses.of(result)


class ConsoleAdmin(VerbPages, admin.ModelAdmin):
    """Base of all pages. Subclasses say what is shown and which verbs there are."""

    plural: ClassVar[str] = ""
    """Heading of the list and its name in the menu."""
    singular: ClassVar[str] = ""
    empty: ClassVar[str] = "Nothing here yet."
    """What an empty list says: why, and what to do next."""
    empty_command: ClassVar[str] = ""
    menu: ClassVar[str] = ""
    """Title of the menu's group, for tables the menu does not name itself; "" for Evidence."""
    public_id: ClassVar[str] = ""
    """The unique column of the id that people know. Pages are found only by it, as it may be a number."""
    view_role: ClassVar[str] = Role.VIEWER
    """The role needed to look."""
    page_template: ClassVar[str] = ""
    """Template of a row's page; "" is the common one, based on the admin's form."""
    live: ClassVar[bool] = False
    """Whether the list updates by itself."""
    linked: ClassVar[Sequence[str]] = ()
    """Lookups that the console's links use on the list, beside its filters and relations."""
    verbs: ClassVar[Sequence[Verb]] = ()
    creates: ClassVar[Sequence[Verb]] = ()

    change_list_template = "sessions_app/admin/list.html"
    change_form_template = "sessions_app/admin/detail.html"
    paginator = BoundedPaginator
    list_per_page = 50
    list_max_show_all = 0
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()
    ordering = ("-pk",)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Let people from ``view_role`` up read every page; secrets are on none."""
        return principal(request).holds(self.view_role)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Tell whether the menu lists it."""
        return principal(request).holds(self.view_role)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: rows are never added by a form."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: rows are never changed by a form."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse: history stays, and configuration is deleted by a verb."""
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the lookups that the list offers or links use, and no others.

        Django allows any lookup on a column. A prefix lookup reveals bit by bit what no page shows, such
        as arguments before redaction; a regular expression may keep a process busy for ever.
        """
        return lookup in self._lookups

    @cached_property
    def _lookups(self) -> frozenset[str]:
        allowed = set(self.linked)
        filters: Sequence[Any] = self.list_filter
        for offered in filters:
            if isinstance(offered, tuple | str):
                name = offered if isinstance(offered, str) else offered[0]
                allowed |= {name, f"{name}__exact", f"{name}__isnull"}
            else:
                allowed.add(offered.parameter_name)
        for field in (*self.opts.concrete_fields, *self.opts.many_to_many):
            if field.is_relation:
                allowed.add(f"{field.name}__id__exact")
        return frozenset(allowed)

    def get_actions(self, request: HttpRequest) -> dict[str, tuple[Callable[..., Any], str, str] | None]:
        """Offer the verbs that this person's role allows on selected rows."""
        return {
            verb.name: (self.bulk(verb), verb.name, verb.label)
            for verb in self.verbs
            if verb.many and permits.may(request, verb)
        }

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the class of the list."""
        return Rows

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Find a row by the id that people know, or by its primary key where it has none."""
        if self.public_id:
            return self.get_queryset(request).filter(**{self.public_id: object_id}).first()
        return super().get_object(request, object_id, from_field)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list with its heading, its verbs for new rows and its text for an empty one."""
        context = {
            "title": self.plural,
            "console_empty": self.empty,
            "console_command": self.empty_command,
            "console_creates": [verb for verb in self.creates if permits.may(request, verb)],
            "console_counted": COUNTED,
            "console_live": self.live,
            "console_status_tabs": self.status_tabs(request),
        }
        return super().changelist_view(request, context | (extra_context or {}))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the page of one row: its facts, its verbs and its sections."""
        if self.page_template:
            return self._own_page(request, object_id)
        row = self.get_object(request, object_id)
        context = self.page_of(request, row) if row is not None and self.has_view_permission(request) else {}
        # The admin unquotes this id, but an "_40" in a name stands for itself.
        return super().change_view(request, quote(object_id), form_url, context | (extra_context or {}))

    def _own_page(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the row with ``page_template``, without a form."""
        permits.require_view(request)
        if request.method == "POST":
            raise PermissionDenied(f"A {self.singular.lower()} is not changed by a form.")
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404(f"no such {self.singular.lower()}")
        frame = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, self.page_template, frame | self.page_of(request, row))

    def page_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template of the page needs beside the fields."""
        return {
            "title": self.title_of(row),
            "subtitle": "",
            "plural": self.plural,
            "console_status": self.status_line(row),
            "console_sections": list(self.sections(row)),
            **self.verbs_of(request, row),
        }

    def status_tabs(self, request: HttpRequest) -> Sequence[StatusTab]:
        """Return the tabs above the list."""
        return ()

    def title_of(self, row: Any) -> str:
        """Return the heading: what it is, and its id."""
        return f"{self.singular} {getattr(row, self.public_id) if self.public_id else row}"

    def status_line(self, row: Any) -> Sequence[Any]:
        """Return the badges and ages under the heading."""
        return ()

    def sections(self, row: Any) -> Sequence[Section]:
        """Return the tables below the facts."""
        return ()

    def facts(self, row: Any) -> Sequence[tuple[str, Any]]:
        """Return what a person must have seen of ``row`` before a verb touches it."""
        return ((self.singular, show.link(row, str(row))),)

    def get_urls(self) -> list[URLPattern]:
        """Add the pages of the verbs."""
        return [*self.verb_urls(), *super().get_urls()]


def latest(rows: QuerySet[Any], number: int = 10) -> list[Any]:
    """Return the newest rows of a section."""
    return list(rows.order_by("-pk")[:number])


def all_of(model: type[Model], **filters: Any) -> Any:
    """Return the link from a section to its whole list."""
    return show.to_list(model, "All", **filters)

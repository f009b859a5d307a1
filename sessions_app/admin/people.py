"""People who sign in, and their groups: Django's own pages in the console's list."""

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse


class _Listed(admin.ModelAdmin):
    """The list of the other tables; forms stay Django's, which know passwords and permissions best."""

    plural: ClassVar[str] = ""
    change_list_template = "sessions_app/admin/list.html"
    show_facets = admin.ShowFacets.NEVER

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, with its own heading."""
        context = {"title": self.plural, "console_empty": f"No {self.plural.lower()} yet."}
        return super().changelist_view(request, context | (extra_context or {}))


class PeopleAdmin(_Listed, UserAdmin):
    """Who may sign in."""

    plural = "Users"
    list_display = ("username", "first_name", "last_name", "is_active", "is_staff", "last_login")
    list_filter = ("is_active", "groups")
    search_help_text = "A part of a name or an address"


class GroupsAdmin(_Listed, GroupAdmin):
    """What people may do: viewer, operator, admin."""

    plural = "Groups"
    search_help_text = "A part of a name"


for model, page in ((User, PeopleAdmin), (Group, GroupsAdmin)):
    admin.site.unregister(model)  # importing Django's pages above has registered them
    admin.site.register(model, page)

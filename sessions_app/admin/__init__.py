"""The operator's desk: Django's admin, read-only, with verbs that call the services.

Reading order: ``base`` (what every page has in common), ``verbs`` and ``verb_pages`` (how something is
changed), ``show`` (how values look), ``overview`` (what needs a person), then a module per group of tables.
"""

from django.contrib import admin

from sessions_app.admin import (  # noqa: F401  (importing them registers the pages)
    access,
    approvals,
    assets,
    audit,
    calls,
    decisions,
    evidence,
    journal,
    login,
    people,
    personas,
    questions,
    routes,
    runs,
    runtime,
    sessions,
)

admin.site.site_header = "Kheish"
admin.site.site_title = "Kheish"
admin.site.index_title = "What needs a person"
admin.site.index_template = "sessions_app/admin/index.html"
admin.site.site_url = None
admin.site.login_form = login.LoginForm
admin.site.empty_value_display = "–"  # noqa: RUF001

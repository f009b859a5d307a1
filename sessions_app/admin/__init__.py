"""The operator's desk: Django's admin, read-only, with verbs that call the services.

Reading order: ``base`` (what every page has in common), ``verbs`` and ``verb_pages`` (how something is
changed), ``permits`` (by whom), ``show`` (how values look), ``home``, ``inbox`` and the other pages of our
own (``kheish_site.console.site``), then a module per group of tables.
"""

from kheish_site.console.site import site
from sessions_app.admin import (  # noqa: F401  (importing them registers the pages)
    access,
    approvals,
    assets,
    audit,
    calls,
    decisions,
    evidence,
    health,
    home,
    inbox_sources,
    journal,
    login,
    people,
    personas,
    questions,
    routes,
    runs,
    runtime,
    search,
    sessions,
    tools,
)

site().login_form = login.LoginForm

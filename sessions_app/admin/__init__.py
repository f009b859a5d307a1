"""The operator's desk: Django's admin, read-only, with verbs that call the services.

Reading order: ``base`` (what every page has in common), ``verbs`` and ``verb_pages`` (how something is
changed), ``show`` (how values look), ``home``, ``inbox`` and the other
pages of our own (``site``), then a module per group of tables.
"""

from sessions_app.admin import (  # noqa: F401  (importing them registers the pages)
    access,
    approvals,
    assets,
    calls,
    decisions,
    evidence,
    health,
    home,
    inbox_sources,
    journal,
    people,
    personas,
    questions,
    routes,
    runs,
    runtime,
    search,
    sessions,
)

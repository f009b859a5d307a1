"""The connectors' pages of the operator's desk. Importing a module registers its pages."""

from connectors_app.admin import observations  # noqa: F401

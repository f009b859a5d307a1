"""Pages of the connectors in the operator's desk."""

from connectors_app.admin import identities  # noqa: F401  (importing it registers the pages)

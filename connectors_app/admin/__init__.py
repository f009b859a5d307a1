"""The connectors' pages of the operator's desk: read-only, with verbs that call the services."""

from connectors_app.admin import connectors, identities, ingress  # noqa: F401  (importing registers them)

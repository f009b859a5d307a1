"""The connectors' pages of the operator's desk: read-only, with verbs that call the services."""

from connectors_app.admin import (  # noqa: F401  (importing them registers the pages)
    connectors,
    deliveries,
    identities,
    inbox,
    ingress,
    observations,
    of_session,
    transports,
)

"""The connectors over HTTP: events in, definitions, deliveries, identities and observations."""

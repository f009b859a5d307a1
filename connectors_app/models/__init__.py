"""The rows of connectors. Read them in this order: connector, ingress, delivery, observation."""

from connectors_app.models.connector import ChatIdentity, Connector, ConnectorSource
from connectors_app.models.ingress import BindingKey, IngressReceipt, IngressRefusal
from connectors_app.models.observation import (
    Materialization,
    MaterializationSchedule,
    Observation,
    ObservationKind,
    ObservationSource,
    ObservationToken,
    PurgeReason,
)

__all__ = [
    "BindingKey",
    "ChatIdentity",
    "Connector",
    "ConnectorSource",
    "IngressReceipt",
    "IngressRefusal",
    "Materialization",
    "MaterializationSchedule",
    "Observation",
    "ObservationKind",
    "ObservationSource",
    "ObservationToken",
    "PurgeReason",
]

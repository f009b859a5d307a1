"""The rows of connectors. Read them in this order: connector, ingress, delivery, observation."""

from connectors_app.models.connector import ChatIdentity, Connector, ConnectorSource
from connectors_app.models.delivery import (
    WAITING_TO_LEAVE,
    Delivery,
    DeliveryDecision,
    DeliveryKind,
    DeliveryStatus,
    DeliveryTarget,
)
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
from connectors_app.models.sidecar import ConnectorLease, SidecarState, SidecarStatus
from connectors_app.models.telegram import TelegramAcknowledgement, TelegramOffset

__all__ = [
    "WAITING_TO_LEAVE",
    "BindingKey",
    "ChatIdentity",
    "Connector",
    "ConnectorLease",
    "ConnectorSource",
    "Delivery",
    "DeliveryDecision",
    "DeliveryKind",
    "DeliveryStatus",
    "DeliveryTarget",
    "IngressReceipt",
    "IngressRefusal",
    "Materialization",
    "MaterializationSchedule",
    "Observation",
    "ObservationKind",
    "ObservationSource",
    "ObservationToken",
    "PurgeReason",
    "SidecarState",
    "SidecarStatus",
    "TelegramAcknowledgement",
    "TelegramOffset",
]

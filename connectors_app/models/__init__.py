"""The rows of connectors. Read them in this order: connector, ingress, delivery."""

from connectors_app.models.connector import ChatIdentity, Connector, ConnectorSource
from connectors_app.models.ingress import BindingKey, IngressReceipt, IngressRefusal
from connectors_app.models.sidecar import ConnectorLease, SidecarState, SidecarStatus

__all__ = [
    "BindingKey",
    "ChatIdentity",
    "Connector",
    "ConnectorLease",
    "ConnectorSource",
    "IngressReceipt",
    "IngressRefusal",
    "SidecarState",
    "SidecarStatus",
]

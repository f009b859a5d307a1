"""The rows of connectors. Read them in this order: connector, ingress, delivery."""

from connectors_app.models.connector import ChatIdentity, Connector, ConnectorSource
from connectors_app.models.ingress import BindingKey, IngressReceipt, IngressRefusal
from connectors_app.models.telegram import TelegramAcknowledgement, TelegramOffset

__all__ = [
    "BindingKey",
    "ChatIdentity",
    "Connector",
    "ConnectorSource",
    "IngressReceipt",
    "IngressRefusal",
    "TelegramAcknowledgement",
    "TelegramOffset",
]

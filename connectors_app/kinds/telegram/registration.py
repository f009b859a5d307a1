"""What ``ConnectorsConfig.ready`` calls: the kind, the sender and the polling of Telegram."""

from connectors_app.kinds.telegram.polling import Polling
from connectors_app.services import registry
from sessions_app.services import ports


def register() -> None:
    """Register them, once in each process."""
    registry.register_kind("telegram", "connectors_app.kinds.telegram.kind.TelegramKind")
    registry.register_sender("telegram", "connectors_app.kinds.telegram.sender.TelegramSender")
    ports.register_background(Polling)

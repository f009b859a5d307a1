"""The kind and the sender of Slack, made known at start."""

from connectors_app.services import registry


def register() -> None:
    """Register both. Called once, from ``ConnectorsConfig.ready``."""
    registry.register_kind("slack", "connectors_app.kinds.slack.kind.SlackKind")
    registry.register_sender("slack", "connectors_app.kinds.slack.sender.SlackSender")

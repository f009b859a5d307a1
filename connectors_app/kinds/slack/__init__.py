"""Slack: signed events and clicks in, messages, files and buttons out.

Read ``settings``, ``events`` (an envelope becomes a neutral event), ``ingress``, ``files``, ``interactive``;
then ``web`` (one call of the API, judged), ``sender`` and ``probe`` (no message twice), ``blocks`` and
``mrkdwn``.
"""


def register() -> None:
    """Add the kind and its sender; called by ``ConnectorsConfig.ready``."""
    from connectors_app.kinds.slack.kind import SlackKind
    from connectors_app.kinds.slack.sender import SlackSender
    from connectors_app.services import registry

    registry.register_kind(SlackKind())
    registry.register_sender(SlackSender())

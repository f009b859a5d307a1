"""Ending the waiting circle of a pressed button: once, best effort, after its effect is durable.

Nothing depends on it. Telegram shows the circle for a while and forgets the press within minutes.
"""

import logging
from datetime import timedelta
from typing import Any, Final

from connectors_app.kinds.telegram.api import Bot
from connectors_app.kinds.telegram.updates import Update
from connectors_app.models import Connector, TelegramAcknowledgement
from connectors_app.services import webhook_answers
from connectors_app.services.contracts import SendFailure
from kheish_site.lib import clock
from kheish_site.lib.canonical import digest
from kheish_site.lib.transactions import release_connection, write
from kheish_site.lib.visible import shortened
from sessions_app.models import ActionPhase
from sessions_app.services.external_actions import LedgerUnavailable

logger = logging.getLogger(__name__)

LONGEST_TEXT: Final = 200
_ATTEMPT_SECONDS: Final = 5.0
_KEPT: Final = timedelta(days=7)


def once(
    connector: Connector, bot: Bot | None, update: Update, *, text: str = "", settled: bool = False
) -> None:
    """Acknowledge the press of ``update`` and show ``text``, unless that was done; a failed call is logged.

    ``settled``: nothing is left to press, so the buttons of the message go too. No transaction may be open.
    """
    done = TelegramAcknowledgement.objects.filter(connector=connector, query_id=update.query_id)
    if bot is None or done.exists():
        return
    answer: dict[str, Any] = {"callback_query_id": update.query_id}
    if text:
        answer |= {"text": shortened(text, LONGEST_TEXT), "show_alert": True}
    if _tried(bot, connector, "answerCallbackQuery", answer):
        _remember(connector, update.query_id)
    if settled:
        message = {"chat_id": update.chat_id, "message_id": update.message_id}
        _tried(bot, connector, "editMessageReplyMarkup", message)


def _tried(bot: Bot, connector: Connector, method: str, parameters: dict[str, Any]) -> bool:
    """Make the call, recorded before and after; no record, no call. Return whether it succeeded."""
    extra = {"action": "telegram.acknowledge", "connector": str(connector)}
    request = digest({"method": method, "parameters": parameters})
    try:
        webhook_answers.record(connector, phase=ActionPhase.STARTED, request_digest=request)
    except LedgerUnavailable as error:
        logger.error("%s was not made: %s", method, error.detail, extra=extra)
        return False
    outcome = "succeeded"
    try:
        release_connection()
        bot.call(method, parameters, timeout_seconds=_ATTEMPT_SECONDS)
    except SendFailure as error:
        outcome = f"failed:{error.error_class}"
        logger.warning("%s failed: %s", method, error.message, extra=extra)
    webhook_answers.record(connector, phase=ActionPhase.FINISHED, request_digest=request, outcome=outcome)
    return outcome == "succeeded"


def _remember(connector: Connector, query_id: str) -> None:
    now = clock.now()
    mine = TelegramAcknowledgement.objects.filter(connector=connector)
    with write():
        mine.filter(acknowledged_at__lt=now - _KEPT).delete()
        mine.get_or_create(connector=connector, query_id=query_id, defaults={"acknowledged_at": now})

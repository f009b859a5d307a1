"""Where polling of a bot goes on after a restart."""

from datetime import timedelta
from typing import Final

from connectors_app.models import Connector, TelegramOffset
from kheish_site.lib import clock
from kheish_site.lib.transactions import write

_TRUSTED: Final = timedelta(days=6)
"""After a week without updates Telegram picks the next number at random: an old one could skip updates."""


def load(connector: Connector, bot_id: str) -> int | None:
    """Return the first update to ask for, None for the oldest Telegram still has.

    Asking for too many is harmless: the receipts reveal repeats.
    """
    row = TelegramOffset.objects.filter(connector=connector, bot_id=bot_id).first()
    if row is None or clock.now() - row.saved_at > _TRUSTED:
        return None
    return row.next_update_id


def save(connector: Connector, bot_id: str, next_update_id: int) -> None:
    """Save that polling goes on at ``next_update_id``: all updates before it are done."""
    with write():
        TelegramOffset.objects.update_or_create(
            connector=connector,
            defaults={"bot_id": bot_id, "next_update_id": next_update_id, "saved_at": clock.now()},
        )

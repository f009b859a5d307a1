"""What polling a Telegram bot has to remember, and which buttons were acknowledged."""

from django.db import models

from connectors_app.models.connector import Connector
from sessions_app.models.base import name_field


class TelegramOffset(models.Model):
    """Where polling goes on. Written after each update; a repeat of the last one is caught by its receipt.

    ``bot_id`` is the bot the number belongs to: another bot counts on its own.
    """

    connector = models.OneToOneField(Connector, on_delete=models.CASCADE, related_name="telegram_offset")
    bot_id = name_field(length=40)
    next_update_id = models.BigIntegerField()
    saved_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.connector_id} from {self.next_update_id}"


class TelegramAcknowledgement(models.Model):
    """A pressed button whose waiting circle was ended. Telegram forgets them in minutes, we in days."""

    connector = models.ForeignKey(
        Connector, on_delete=models.CASCADE, related_name="telegram_acknowledgements"
    )
    query_id = name_field(length=100)
    acknowledged_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["connector", "query_id"], name="telegram_acknowledged_once"),
        ]
        indexes = [
            # acknowledge.once forgets old ones: WHERE connector_id = ? AND acknowledged_at < ?
            models.Index(fields=["connector", "acknowledged_at"], name="telegram_acknowledged_age"),
        ]

    def __str__(self) -> str:
        return self.query_id

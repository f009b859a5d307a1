"""The thread that fetches one bot's updates and takes them in, one after the other.

The offset is saved after each update; a process that dies in between takes one update twice, but its receipt
reveals it. An update that cannot be taken now is asked for again; one that never can be is counted as refused
and skipped, or it would hold up all later ones.
"""

import logging
import threading
import time
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import close_old_connections, connection

from connectors_app.kinds.telegram import ingress, offsets
from connectors_app.kinds.telegram.api import Bot, bot_of
from connectors_app.kinds.telegram.files import MediaUnavailable
from connectors_app.kinds.telegram.updates import HANDLED
from connectors_app.models import Connector
from connectors_app.services import ingress as door
from connectors_app.services.contracts import RetryLater, SendFailure
from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import release_connection

logger = logging.getLogger(__name__)

_UPDATES_A_CALL: Final = 20
_GRACE_SECONDS: Final = 10.0
_LONGEST_WAIT: Final = 60.0
_MOST_TRIES: Final = 5
_SHORTEST_POLL: Final = 0.5


class Poller(threading.Thread):
    """Polls for ``connector`` as it was when the thread was made; ends with ``over`` or ``end``."""

    def __init__(self, connector: Connector, over: threading.Event) -> None:
        super().__init__(name=f"telegram-{connector.name}", daemon=True)
        self.connector_name = connector.name
        self.revision = connector.revision
        self._connector = connector
        self._over = over
        self._ended = threading.Event()
        self._failures = 0
        self._tries: tuple[int, int] = (-1, 0)

    def end(self) -> None:
        """Fetch nothing more; the update in hand is finished."""
        self._ended.set()

    def run(self) -> None:
        """Poll until asked to end."""
        try:
            while not self._is_over():
                self._rest(self._guarded_round())
        finally:
            connection.close()

    def _is_over(self) -> bool:
        return self._ended.is_set() or self._over.is_set()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_over() and (left := until - time.monotonic()) > 0:
            self._over.wait(min(left, 0.5))

    def _guarded_round(self) -> float:
        """Do one round; return how long to wait before the next."""
        try:
            close_old_connections()
            wait = self._round()
            self._failures = 0 if not wait else self._failures
            return wait
        except SendFailure as error:
            if self._is_over():
                return 0.0
            asked = error.retry_after_seconds if isinstance(error, RetryLater) else None
            return self._failed(error.message, asked)
        except Exception as error:  # the thread's edge: a database that is away comes back
            logger.warning("a poll failed", exc_info=True, extra=self._extra())
            return self._failed(type(error).__name__, None, note=False)

    def _failed(self, why: str, asked: float | None, *, note: bool = True) -> float:
        self._failures += 1
        wait = max(min(2.0 ** (self._failures - 1), _LONGEST_WAIT), asked or 0.0)
        logger.warning("polling failed: %s; again in %.0f s", why, wait, extra=self._extra())
        if note:
            self._note(KheishError(why, code="telegram_polling_failed"))
        return wait

    def _round(self) -> float:
        bot = bot_of(self._connector)
        if bot is None:
            raise RetryLater("internal", "the connector has no bot_token")
        seconds = int(self._connector.settings.get("polling_timeout_seconds", 30))
        asked: dict[str, Any] = {
            "timeout": seconds,
            "limit": _UPDATES_A_CALL,
            "allowed_updates": list(HANDLED),
        }
        offset = offsets.load(self._connector, bot.bot_id)
        if offset is not None:
            asked["offset"] = offset
        release_connection()
        began = time.monotonic()
        found = bot.call(
            "getUpdates", asked, timeout_seconds=seconds + _GRACE_SECONDS, is_cancelled=self._is_over
        )
        if not isinstance(found, list) or not all(isinstance(payload, dict) for payload in found):
            raise RetryLater("decode", "Telegram getUpdates: an answer that cannot be understood")
        for payload in found:
            if self._is_over():
                return 0.0
            if wait := self._one(bot, payload):
                return wait
        in_haste = not found and time.monotonic() - began < min(_SHORTEST_POLL, seconds)
        return 1.0 if in_haste else 0.0

    def _one(self, bot: Bot, payload: dict[str, Any]) -> float:
        """Take one update and save the offset behind it; or return how long to wait before a retry."""
        update_id = payload.get("update_id")
        if not isinstance(update_id, int) or isinstance(update_id, bool):
            raise RetryLater("decode", "Telegram getUpdates: an update without update_id")
        tries = self._tries[1] if self._tries[0] == update_id else 0
        try:
            gone = "it could not be fetched" if tries >= _MOST_TRIES else ""
            ingress.take(self._connector, payload, without_files=gone)
        except KheishError as error:
            if error.retryable:
                self._tries = (update_id, tries + isinstance(error, MediaUnavailable))
                return self._later(error)
            self._note(error)
        except DatabaseError:
            raise
        except Exception:  # the thread's edge: one update must not hold up all later ones
            if tries < _MOST_TRIES:
                self._tries = (update_id, tries + 1)
                raise
            logger.exception("an update was given up", extra=self._extra() | {"update_id": update_id})
            self._note(KheishError("an update could not be taken; the log says why"))
        crashpoint("telegram.taken")
        offsets.save(self._connector, bot.bot_id, update_id + 1)
        return 0.0

    def _later(self, error: KheishError) -> float:
        wait = float(error.extra.get("retry_after_seconds") or 1.0)
        logger.warning("an update waits: %s", error.detail, extra=self._extra())
        return min(wait, _LONGEST_WAIT)

    def _note(self, error: KheishError) -> None:
        """Count what went wrong for the people who look at the connector."""
        try:
            door.note_refusal(self._connector, error)
        except DatabaseError:
            logger.warning("a refusal was not counted", exc_info=True, extra=self._extra())

    def _extra(self) -> dict[str, str]:
        return {"action": "telegram.poll", "connector": str(self._connector)}

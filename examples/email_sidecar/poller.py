"""The thread that reads the mailbox and hands each mail in; a mail is marked only once it is safe."""

import logging
import threading
from typing import Final

import inbox
import incoming
from daemon import Daemon, DaemonAway, DaemonRefused
from inbox import Mailbox, MailboxAway
from settings import Settings
from store import Store

logger = logging.getLogger("email_sidecar")
MOST_AT_ONCE: Final = 50
_FAULTS_OF_THE_MAIL: Final = frozenset({400, 413, 422})
"""What the service answers to an event it will never take; anything else is the connector's or passes."""


class Poller(threading.Thread):
    """Polls until ``stop``. ``status`` and ``detail`` are what ``/health`` says."""

    def __init__(self, settings: Settings, daemon: Daemon, store: Store, *, instance_id: str) -> None:
        super().__init__(name="poller", daemon=True)
        self._settings, self._daemon, self._store = settings, daemon, store
        self._instance_id = instance_id
        self._ended = threading.Event()
        self.status, self.detail = "starting", ""

    def stop(self) -> None:
        """Read no further mail."""
        self._ended.set()

    def run(self) -> None:
        """Poll, and poll again."""
        while not self._ended.is_set():
            self._ended.wait(self._poll())

    def _poll(self) -> float:
        """Read what is there; return how long to wait. What fails is tried again: nothing was marked."""
        try:
            password = self._daemon.credential(self._settings.imap.password_key)
            with inbox.opened(self._settings.imap, password, self._settings.mailbox) as box:
                self.status, self.detail = "ready", ""
                for uid in self._waiting(box):
                    self._take(box, uid)
        except DaemonAway as error:
            self._unwell(f"service: {error}")
            return min(error.retry_seconds, self._settings.poll_seconds)
        except (MailboxAway, DaemonRefused) as error:
            self._unwell(str(error))
        except Exception:  # the thread's edge: whatever one mail does, the next poll comes
            logger.exception("poll failed")
            self._unwell("internal error")
        return self._settings.poll_seconds

    def _unwell(self, detail: str) -> None:
        logger.warning("poll: %s", detail)
        self.status, self.detail = "degraded", detail[:300]

    def _waiting(self, box: Mailbox) -> list[str]:
        waiting = [uid for uid in box.unseen() if not self._store.is_refused(box.event_id(uid))]
        return [] if self._ended.is_set() else waiting[:MOST_AT_ONCE]

    def _take(self, box: Mailbox, uid: str) -> None:
        """Hand one mail in. It is marked only after ``accepted`` or ``duplicate``. Raises: DaemonAway."""
        if self._ended.is_set():
            return
        event_id = box.event_id(uid)
        if box.size_bytes(uid) > inbox.LARGEST_MAIL:
            self._store.refuse(event_id, "it is too large")
            return
        mail = box.read(uid)
        if mail is None:
            return
        try:
            event = incoming.event_of(mail, self._settings, instance_id=self._instance_id)
        except incoming.Ignored as reason:
            self._store.refuse(event_id, str(reason))
            return
        except Exception as oddity:  # strangers write mails: one that cannot be read must not stop the others
            logger.warning("a mail cannot be read: %s", event_id, exc_info=True)
            self._store.refuse(event_id, f"it cannot be read: {type(oddity).__name__}")
            return
        try:
            answer = self._daemon.push(event)
        except DaemonRefused as refused:
            if refused.status not in _FAULTS_OF_THE_MAIL:
                raise  # the connector is not as it should be; the mail is not at fault
            answer = {"status": "rejected", "reason": str(refused)}
        if answer.get("status") in ("accepted", "duplicate"):
            box.mark_seen(uid)
        else:
            logger.warning("rejected: %s", answer.get("reason"))
            self._store.refuse(event_id, f"rejected: {answer.get('reason')}")

"""This process's doorbell: which one it is, and the one verb that needs no transaction."""

from dataclasses import replace
from functools import cache
from typing import Protocol

from django.conf import settings

from kheish_site.lib.redaction import redact
from sessions_app.services.doorbell.embedded import EmbeddedBell
from sessions_app.services.doorbell.live import Delta


class Doorbell(Protocol):
    """What a profile must be able to do. No method raises or waits for long."""

    def ring_readers(self, session_pk: int, seq: int) -> None:
        """Say that the session's journal has reached ``seq``."""

    def ring_workers(self, session_pk: int) -> None:
        """Say that the session may have something to drive."""

    def delta(self, delta: Delta) -> None:
        """Show ``delta`` to whoever watches now."""


@cache
def bell() -> Doorbell:
    """Return this process's doorbell."""
    url = settings.KHEISH.redis_url
    if not url:
        return EmbeddedBell(settings.KHEISH.state_dir)
    # Loaded only where there is a Redis: its client costs a third of a second of start-up.
    from sessions_app.services.doorbell.redis_bell import RedisBell

    return RedisBell(url)


def show(delta: Delta) -> None:
    """Show a piece of model text to live readers; outside any transaction.

    The text is redacted here once more, but a secret cut in two by the model's own chunks is caught
    only by ``relay.DeltaRelay``: engines send through that.
    """
    bell().delta(replace(delta, text=redact(delta.text)))

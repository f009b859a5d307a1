"""Rotating the master key that seals secrets at rest.

Three steps, each safe to crash after: the new key is written in front of the old ones (all rows stay
readable), the rows are sealed again in one transaction, and only then, when asked for, the old keys
are dropped; what was sealed under them and committed late is sealed again before. Running processes
follow the key file by themselves (``lib/crypto.py``).
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from kheish_site.lib import crypto
from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.errors import Conflict
from kheish_site.lib.private_files import alone_with, write_private
from kheish_site.lib.transactions import exclusive, locked, write
from kheish_site.settings.keys import new_master_key
from sessions_app.models import IdempotencyRecord, SecondFactor, SecretSlot
from sessions_app.services import audit, ports
from sessions_app.services.idempotency import SEALED

logger = logging.getLogger(__name__)
LATE_SECONDS = 1.0
"""Longer than a transaction lasts that sealed something before it could know of a new key."""


class KeysInEnvironment(Conflict):
    """``KHEISH_MASTER_KEY`` holds the keys, so nothing here can add one."""

    code, domain = "master_key_in_environment", "runtime"


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """What a rotation did."""

    resealed: int
    keys_kept: int


def rotate(*, drop_old: bool = False) -> Rotation:
    """Put a new master key in force, one rotation after the other: two at once would drop each other's key.

    Raises: KeysInEnvironment, Unreadable (nothing is dropped then).
    """
    if settings.KHEISH.master_keys_in_environment:
        raise KeysInEnvironment("KHEISH_MASTER_KEY holds the keys: put a new one before the old one there")
    file = settings.KHEISH.master_key_file
    with alone_with(file):
        keys = [new_master_key(), *crypto.master_keys()]
        write_private(file, "\n".join(keys) + "\n")
        crashpoint("master_key.written")
        resealed = reseal_all()
        crashpoint("master_key.resealed")
        if drop_old:
            time.sleep(LATE_SECONDS)
            reseal_all()
            keys = keys[:1]
            write_private(file, keys[0] + "\n")
        audit.record("master_key.rotated", "master_key", file.name, after={"keys_kept": len(keys)})
    logger.info("master key rotated", extra={"action": "master_key.rotate", "resealed": resealed})
    return Rotation(resealed=resealed, keys_kept=len(keys))


def reseal_only() -> int:
    """Seal everything under a key that somebody has put in front, and record it; return how many.

    Raises: Unreadable.
    """
    with write():
        resealed = reseal_all()
        audit.record("master_key.resealed", "master_key", settings.KHEISH.master_key_file.name)
    return resealed


def reseal_all() -> int:
    """Seal every stored secret again under the newest key, all or none; return how many.

    Raises: Unreadable.
    """
    with write():
        exclusive("configuration")
        answers = IdempotencyRecord.objects.filter(headers__has_key=SEALED)
        return (
            _reseal(SecretSlot.objects.all(), "sealed")
            + _reseal(SecondFactor.objects.all(), "sealed")
            + _reseal(answers, "body")
            + ports.reseal()
        )


def _reseal(rows: QuerySet[Any], column: str) -> int:
    found = list(locked(rows))
    for row in found:
        rows.filter(pk=row.pk).update(**{column: crypto.reseal(getattr(row, column))})
    return len(found)

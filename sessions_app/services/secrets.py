"""Secret slots: written, rotated, used by reference, never shown.

A value leaves only through ``reveal``, for the engine. Every process that may write a journal, a
stream or a log learns it through the redaction funnel: when it stores it, when it reveals it, and
by ``refresh_redaction``.
"""

import json
import logging
import threading
import time
from typing import Final

from django.db.models import QuerySet

from kheish_site.lib import crypto, redaction
from kheish_site.lib.errors import BadRequest, Conflict, NotFound
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import exclusive, locked, write
from sessions_app.models import Route, SecretSlot
from sessions_app.services import audit, ports

logger = logging.getLogger(__name__)

LARGEST_VALUE: Final = 65_536
"""Characters; a private key has a few thousand."""


class SecretMissing(NotFound):
    """No such slot."""

    code, domain = "secret_not_found", "secrets"


class SecretInUse(Conflict):
    """Something still names the slot; ``referenced_by`` says what."""

    code, domain = "secret_in_use", "secrets"


def put(slot_id: str, *, provider: str = "", value: str, mode: str = "api_key") -> tuple[SecretSlot, bool]:
    """Fill a slot, or rotate what it holds; return it and whether it is new.

    Runs in flight use the new value from their next model call on. Raises: BadRequest(invalid_secret).
    """
    if not value.strip() or len(value) > LARGEST_VALUE:
        raise BadRequest(
            f"a secret has 1 to {LARGEST_VALUE} characters", code="invalid_secret", domain="secrets"
        )
    _teach(slot_id, value)
    with write():
        exclusive("configuration")
        slot = SecretSlot.objects.filter(slot_id=slot_id).first()
        created = slot is None
        if slot is None:
            slot = SecretSlot(slot_id=slot_id, revision=0)
        slot.provider, slot.mode, slot.sealed = provider, mode, crypto.seal(value.encode())
        slot.revision += 1
        slot.save()
        told = {"provider": provider, "mode": mode, "revision": slot.revision}
        audit.record("secret.stored" if created else "secret.rotated", "secret", slot_id, after=told)
    logger.info(
        "secret stored", extra={"action": "secrets.put", "slot_id": slot_id, "revision": slot.revision}
    )
    return slot, created


def everything() -> QuerySet[SecretSlot]:
    """Return all slots."""
    return SecretSlot.objects.all()


_BY_ID: Final = Prepared[SecretSlot](
    lambda slot_id: SecretSlot.objects.filter(slot_id=slot_id).order_by(), str
)


def get(slot_id: str) -> SecretSlot:
    """Return one slot. Raises: SecretMissing."""
    slot = _BY_ID.first(slot_id)
    if slot is None:
        raise SecretMissing(f"no secret slot {slot_id}")
    return slot


def holds(slot: SecretSlot, value: str) -> bool:
    """Tell whether the slot holds exactly this value; False when it cannot be read."""
    try:
        return crypto.unseal(slot.sealed) == value.encode()
    except crypto.Unreadable:
        return False


def is_readable(slot: SecretSlot) -> bool:
    """Tell whether the value can be read with the configured master keys."""
    try:
        crypto.unseal(slot.sealed)
    except crypto.Unreadable:
        return False
    return True


def reveal(slot_id: str) -> str:
    """Return the value, for a call that is about to be made. Raises: SecretMissing, Unreadable."""
    slot = get(slot_id)
    try:
        value = crypto.unseal(slot.sealed).decode()
    except crypto.Unreadable:
        again = get(slot_id)  # it may have been sealed under another key since, and the old one dropped
        if again.sealed == slot.sealed:
            raise
        value = crypto.unseal(again.sealed).decode()
    _teach(slot_id, value)
    return value


def delete(slot_id: str) -> None:
    """Forget a slot. Raises: SecretMissing, SecretInUse."""
    with write():
        exclusive("configuration")
        slot = locked(SecretSlot.objects.filter(slot_id=slot_id)).first()
        if slot is None:
            raise SecretMissing(f"no secret slot {slot_id}")
        users = references([slot_id])[slot_id]
        if users:
            raise SecretInUse(f"{slot_id} is used by {', '.join(users)}", referenced_by=users)
        slot.delete()
        audit.record("secret.deleted", "secret", slot_id)
    logger.info("secret deleted", extra={"action": "secrets.delete", "slot_id": slot_id})


def references(slot_ids: list[str]) -> dict[str, list[str]]:
    """Return for each slot what names it, as ``route:ID``; a query for each kind of user."""
    found = ports.slot_users(slot_ids)
    rows = (
        Route.objects.filter(auth_ref__in=slot_ids).order_by("route_id").values_list("auth_ref", "route_id")
    )
    for auth_ref, route_id in rows:
        found[auth_ref].append(f"route:{route_id}")
    return found


class _Learned:
    """Which revision of which slot this process has taught its redaction funnel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._revisions: dict[int, int] = {}
        self._looked_at = float("-inf")

    def refresh(self, max_age_seconds: float) -> None:
        """See ``refresh_redaction``."""
        with self._lock:
            if time.monotonic() - self._looked_at < max_age_seconds:
                return
            present = dict(_REVISIONS.all())
            changed = [pk for pk, revision in present.items() if self._revisions.get(pk) != revision]
            for slot in SecretSlot.objects.filter(pk__in=changed) if changed else ():
                _teach_slot(slot)
            self._revisions, self._looked_at = present, time.monotonic()


_REVISIONS: Final = Prepared[tuple[int, int]](lambda: SecretSlot.objects.values_list("pk", "revision"))
_LEARNED: Final = _Learned()


def refresh_redaction(*, max_age_seconds: float = 0.0) -> None:
    """Teach this process the values that other processes stored; one small query when none is new.

    ``max_age_seconds`` spares even that when the last look is younger.
    """
    _LEARNED.refresh(max_age_seconds)


def _teach_slot(slot: SecretSlot) -> None:
    try:
        _teach(slot.slot_id, crypto.unseal(slot.sealed).decode())
    except crypto.Unreadable:
        logger.warning("secret unreadable", extra={"action": "secrets.refresh", "slot_id": slot.slot_id})


def _teach(slot_id: str, value: str) -> None:
    """Register the value, and what it looks like inside JSON text."""
    redaction.register_secret(slot_id, value)
    redaction.register_secret(slot_id, value.strip())
    redaction.register_secret(slot_id, json.dumps(value)[1:-1])

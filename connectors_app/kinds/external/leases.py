"""Credential leases: a child process reads its secrets with a token that dies with it.

Issued before each start, renewed while the process lives, revoked when it ends, is stopped or never becomes
ready. When its worker is killed, the lease runs out by itself.
"""

import secrets as random
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from django.db.models import Q

from connectors_app.kinds.external.names import CHILD
from connectors_app.models import Connector, ConnectorLease
from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import NotFound, Unauthorized
from kheish_site.lib.ids import new_id
from kheish_site.lib.redaction import register_secret
from kheish_site.lib.transactions import write
from sessions_app.services import secrets

LIFE: Final = timedelta(minutes=5)
RENEW_SECONDS: Final = 60.0
_KEPT: Final = timedelta(days=1)
DOMAIN: Final = "connector_credentials"


class LeaseInvalid(Unauthorized):
    """The token has no live lease of this connector, or none for this credential."""

    code, domain = "connector_lease_invalid", DOMAIN


class CredentialMissing(NotFound):
    """The connector exposes no such credential, or its slot is gone."""

    code, domain = "connector_credential_not_found", DOMAIN


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A fresh lease and its token, which cannot be read again."""

    lease_id: str
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Credential:
    """A value and the lease it was read with."""

    value: str = field(repr=False)
    lease: ConnectorLease


def issue(connector: Connector) -> Issued:
    """Make the lease of a process that is about to start; every earlier one of the connector ends."""
    token, now = f"kh_lease_{random.token_urlsafe(32)}", clock.now()
    register_secret(f"{connector}.lease", token)
    child = connector.settings.get("child_process") or {}
    with write():
        revoke(connector)
        ConnectorLease.objects.filter(connector=connector, expires_at__lt=now - _KEPT).delete()
        lease = ConnectorLease.objects.create(
            lease_id=new_id("lease"),
            grant_id=new_id("grant"),
            connector=connector,
            token_hash=sha256_hex(token),
            slots=child.get("credential_slots", {}),
            issued_at=now,
            expires_at=now + LIFE,
        )
    return Issued(lease_id=lease.lease_id, token=token)


def renew(lease_id: str) -> bool:
    """Extend a lease; False when it is revoked or has run out, which is final."""
    now = clock.now()
    with write():
        rows = ConnectorLease.objects.filter(lease_id=lease_id, revoked_at=None, expires_at__gt=now)
        return rows.update(expires_at=now + LIFE) == 1


def revoke(connector: Connector, *, lease_id: str = "") -> None:
    """End one lease of a connector, or all of them. A repeat changes nothing."""
    now = clock.now()
    which = Q(lease_id=lease_id) if lease_id else Q()
    with write():
        ConnectorLease.objects.filter(which, connector=connector, revoked_at=None).update(revoked_at=now)


def read(connector: Connector, token: str, env_key: str) -> Credential:
    """Return a credential to the process that holds the lease.

    Raises: LeaseInvalid (unknown, expired, revoked, or for another slot), CredentialMissing.
    """
    if connector.settings["mode"] != CHILD:
        raise CredentialMissing(f"{connector} has no child process")
    lease = ConnectorLease.objects.filter(connector=connector, token_hash=sha256_hex(token)).first()
    if lease is None or lease.revoked_at is not None or lease.expires_at <= clock.now():
        raise LeaseInvalid("the lease is not valid")
    slots = (connector.settings.get("child_process") or {}).get("credential_slots", {})
    if env_key not in slots:
        raise CredentialMissing(f"{connector} exposes no credential {env_key}")
    if lease.slots.get(env_key) != slots[env_key]:
        raise LeaseInvalid("the lease is for another slot")
    try:
        return Credential(value=secrets.reveal(slots[env_key]), lease=lease)
    except secrets.SecretMissing:
        raise CredentialMissing(f"the slot of {env_key} is empty") from None

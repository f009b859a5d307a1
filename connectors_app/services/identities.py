"""Which account or token a platform's person acts as; without one, no button in a chat decides anything.

An administrator maps the id by which a platform knows somebody to an existing account or token, and caps the
role. A mapping never grants more than that account or token holds at the moment it is used: demote, revoke
or deactivate it, and the chat loses the same.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

from django.db.models import QuerySet

from connectors_app.models import ChatIdentity, Connector
from connectors_app.services import registry
from kheish_site.lib import clock
from kheish_site.lib.errors import BadRequest, Conflict, Forbidden, NotFound
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import require_transaction, write
from sessions_app.models import Role, Run
from sessions_app.services import access, audit
from sessions_app.services.principal import Principal

logger = logging.getLogger(__name__)

LONGEST_ID: Final = 200
_LONGEST_ORIGIN: Final = 64  # what a vote has room for
_SHORTEST_NAME: Final = 8
_DOMAIN: Final = "connectors"


def everything(connector: Connector) -> QuerySet[ChatIdentity]:
    """Return the mapped people of a connector."""
    return ChatIdentity.objects.select_related("connector").filter(connector=connector)


def get(connector: Connector, external_id: str) -> ChatIdentity:
    """Return one mapping. Raises: NotFound(identity_not_found)."""
    found = everything(connector).filter(external_id=external_id).first()
    if found is None:
        raise _missing(connector, external_id)
    return found


def put(
    connector: Connector, external_id: str, *, principal: str, role: str, by: Principal
) -> tuple[ChatIdentity, bool]:
    """Map ``external_id`` to the account or live token called ``principal``; return it and whether it is new.

    ``role`` is a cap. Raises: BadRequest(invalid_identity), Forbidden(identity_role_forbidden),
    Conflict(identity_unprovable).
    """
    if registry.takes_from_anybody(connector):
        raise Conflict(
            f"{connector} takes unauthenticated events, so anybody could act as the person you map",
            code="identity_unprovable",
            domain=_DOMAIN,
        )
    _check_id(external_id)
    if role not in Role.values:
        raise _invalid(f"role is one of {', '.join(Role.values)}")
    if not by.holds(role):
        raise Forbidden(
            f"you hold {by.role or 'no role'}, so you cannot map {role}",
            code="identity_role_forbidden",
            domain=_DOMAIN,
        )
    if principal not in access.roles_held_by([principal]):
        raise _invalid(f"there is no active account and no live token called {principal}")
    with write():
        row, made = ChatIdentity.objects.update_or_create(
            connector=connector,
            external_id=external_id,
            defaults={"principal": principal, "role": role, "created_by": by.name},
        )
        audit.record(
            "identity.mapped",
            "identity",
            f"{connector}:{external_id}",
            after={"principal": principal, "role": str(role)},
            principal=by,
        )
    _log("mapped", row, by)
    return row, made


def delete(connector: Connector, external_id: str, *, by: Principal) -> None:
    """Forget a mapping, at once. Raises: NotFound(identity_not_found)."""
    with write():
        row = get(connector, external_id)
        row.delete()
        was = {"principal": row.principal, "role": row.role}
        audit.record("identity.unmapped", "identity", f"{connector}:{external_id}", before=was, principal=by)
    _log("unmapped", row, by)


def forget_all(connector: Connector) -> None:
    """Forget all mappings of a connector, so that a new one under its name starts without any.

    Needs the transaction that removes the connector.
    """
    require_transaction()
    ChatIdentity.objects.filter(connector=connector).delete()


def principal_for(connector: Connector, external_id: str, remote_addr: str = "") -> Principal | None:
    """Return the principal ``external_id`` acts as, or None for a stranger.

    Its role is the lesser of the mapping's and of what the account or token holds now; None too when that was
    deactivated, revoked or has expired. The principal's ``remote_addr`` names the connector and the person a
    vote came from, followed by ``remote_addr`` when it is given and there is room.
    """
    row = ChatIdentity.objects.filter(connector=connector, external_id=external_id).first()
    if row is None:
        return None
    held = access.roles_held_by([row.principal]).get(row.principal)
    if held is None:
        return None
    return Principal(
        name=row.principal,
        role=access.lesser(row.role, held),
        auth_method="chat",
        remote_addr=_origin(connector, external_id, remote_addr),
        rights=access.rights_held_by(row.principal),
    )


_PERSON: Final = Prepared[ChatIdentity](
    lambda connector, person: ChatIdentity.objects.filter(
        connector_id=connector, external_id=person
    ).order_by(),
    int,
    str,
)


def requester(connector: Connector, external_id: str) -> str:
    """Return the name that ``external_id`` is mapped to, able to act or not; "" for a stranger.

    Where unauthenticated events are taken, everybody is a stranger: such an event only claims a sender. A
    chat's run is requested under this name, so that "the requester may not approve" holds on every surface.
    """
    row = _PERSON.first(connector.pk, external_id)
    return "" if row is None or registry.takes_from_anybody(connector) else row.principal


def asked_for(run: Run, name: str) -> bool:
    """Tell whether the run came from a chat account of ``name``, even one that was mapped afterwards.

    A person may be mapped as ``team:user`` after a message of theirs was accepted under plain ``user``.
    """
    if not run.actor_id:
        return False
    accounts = ChatIdentity.objects.filter(connector__kind=run.source_plugin, principal=name)
    return any(
        not registry.takes_from_anybody(row.connector)
        for row in accounts.select_related("connector")
        if row.external_id == run.actor_id or row.external_id.endswith(f":{run.actor_id}")
    )


def views(rows: Sequence[ChatIdentity]) -> list[dict[str, Any]]:
    """Return mappings as clients see them; ``effective_role`` is what each may do now, "" for nothing."""
    held = access.roles_held_by({row.principal for row in rows})
    return [
        {
            "kind": row.connector.kind,
            "name": row.connector.name,
            "external_id": row.external_id,
            "principal": row.principal,
            "role": row.role,
            "effective_role": str(access.lesser(row.role, held.get(row.principal, ""))),
            "created_by": row.created_by,
            "created_at": clock.rfc3339(row.created_at),
        }
        for row in rows
    ]


def _origin(connector: Connector, external_id: str, remote_addr: str) -> str:
    """Return ``kind:connector:person``; where that has no room, the connector's name is cut first."""
    room = _LONGEST_ORIGIN - len(connector.kind) - 2
    person = external_id[: room - _SHORTEST_NAME]
    origin = f"{connector.kind}:{connector.name[: room - len(person)]}:{person}"
    full = f"{origin} via {remote_addr}"
    return full if remote_addr and len(full) <= _LONGEST_ORIGIN else origin


def _check_id(external_id: str) -> None:
    whole = external_id.isprintable() and external_id == external_id.strip() and "/" not in external_id
    if not external_id or len(external_id) > LONGEST_ID or not whole:
        raise _invalid(f"the platform's id of a person is 1 to {LONGEST_ID} printable characters without /")


def _log(what: str, row: ChatIdentity, by: Principal) -> None:
    logger.info(
        "chat identity %s",
        what,
        extra={
            "action": f"identities.{what}",
            "connector": str(row.connector),
            "external_id": row.external_id,
            "mapped_to": row.principal,
            "role": row.role,
            "principal": by.name,
        },
    )


def _invalid(detail: str) -> BadRequest:
    return BadRequest(detail, code="invalid_identity", domain=_DOMAIN)


def _missing(connector: Connector, external_id: str) -> NotFound:
    return NotFound(
        f"{connector} maps nobody called {external_id}", code="identity_not_found", domain=_DOMAIN
    )

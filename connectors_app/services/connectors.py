"""Connectors: define, change, pause, remove. Rows are read for every event, so a change holds at once."""

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from django.db.models import QuerySet

from connectors_app.models import Connector, ConnectorSource
from connectors_app.services import handles, identities, pointers, registry
from connectors_app.services.contracts import (
    ConnectorInvalid,
    InboundEvent,
    KeepsValues,
    Kind,
    NamesSlots,
    ReadsTrials,
    no_slot,
)
from kheish_site.lib import clock, revisions
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import Conflict, KheishError, NotFound, Unavailable
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import register_secret
from kheish_site.lib.transactions import after_commit, exclusive, locked, write
from sessions_app.models import Persona, SecretSlot
from sessions_app.services import audit, secrets

logger = logging.getLogger(__name__)
TARGET_SETTINGS: Final = ("default_reply_targets", "additional_reply_targets")
PAUSED_RETRY_SECONDS: Final = 60
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{0,99}", re.ASCII)


class ConnectorMissing(NotFound):
    """No such connector."""

    code, domain = "connector_not_found", "connectors"


class ConnectorDisabled(Conflict):
    """The connector takes no events."""

    code, domain = "connector_disabled", "connectors"


class ConnectorPaused(Unavailable):
    """The connector takes no events for now; the sender should come back."""

    code, domain = "connector_paused", "connectors"


class ConnectorFromFile(Conflict):
    """The definition belongs to the connectors file and is changed there."""

    code, domain = "connector_from_file", "connectors"


class ConnectorInUse(Conflict):
    """Another connector answers through this one."""

    code, domain = "connector_in_use", "connectors"


def is_name(name: str) -> bool:
    """Tell whether ``name`` fits in an address and a key: 1 to 100 letters, digits and ``. _ -``."""
    return bool(_NAME.fullmatch(name))


def everything() -> QuerySet[Connector]:
    """Return all connectors but the removed ones."""
    return Connector.objects.filter(removed_at=None)


_BY_NAME: Final = Prepared[Connector](
    lambda kind, name: everything().filter(kind=kind, name=name).order_by(), str, str
)


def get(kind: str, name: str) -> Connector:
    """Return one connector. Raises: ConnectorMissing."""
    connector = _BY_NAME.first(kind, name)
    if connector is None:
        raise ConnectorMissing(f"there is no {kind} connector {name}")
    return connector


def admitted(kind: str, name: str) -> Connector:
    """Return a connector that takes events now.

    Raises: ConnectorMissing, ConnectorDisabled, ConnectorPaused.
    """
    connector = get(kind, name)
    if not connector.enabled:
        raise ConnectorDisabled(f"the {kind} connector {name} is disabled")
    if connector.paused_at is not None:
        raise ConnectorPaused(
            f"the {kind} connector {name} is paused", retry_after_seconds=PAUSED_RETRY_SECONDS
        )
    return connector


def holds(connector: Connector, field: str) -> bool:
    """Tell whether a secret field is configured."""
    return field in connector.secrets


def secret(connector: Connector, field: str) -> str:
    """Return the value of a secret field, for use at once; "" when none is configured.

    Raises: Unavailable(connector_secret_unreadable) when its slot or variable has no value.
    """
    place = connector.secrets.get(field)
    if place is None:
        return ""
    try:
        if "env" in place:
            value = os.environ[place["env"]]
            register_secret(f"{connector}.{field}", value)
        else:
            value = secrets.reveal(place["slot"])
        if not value.strip():
            raise KeyError(field)  # an empty secret would let everybody in
        return value
    except (KeyError, KheishError) as error:
        raise Unavailable(
            f"the secret {field} of {connector} cannot be read",
            code="connector_secret_unreadable",
            domain="connectors",
        ) from error


def shown_settings(connector: Connector) -> dict[str, Any]:
    """Return the settings without the values their kind only takes in; redaction is the caller's."""
    kind = registry.kind(connector.kind)
    return kind.shown(connector.settings) if isinstance(kind, KeepsValues) else dict(connector.settings)


def put(
    kind_name: str,
    name: str,
    settings: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    principal: str,
    source: str = ConnectorSource.DAEMON,
    expected: frozenset[int] | None = None,
    whole: bool = False,
) -> tuple[Connector, bool]:
    """Write a definition; return it and whether it is new. A member that is left out keeps its stored value.

    ``given`` are secret fields: ``{"value"}``, ``{"secret_ref"}``, ``{"env"}``, or None to remove one.
    ``whole`` (for the file) replaces the definition instead. All of it is checked before anything changes.
    Raises: ConnectorInvalid, InvalidReplyTarget, ConnectorFromFile, PreconditionFailed, NotFound (a kind).
    """
    kind = kind_of(kind_name)
    with write():
        exclusive("configuration")
        row = locked(Connector.objects.filter(kind=kind_name, name=name)).first()
        created = row is None or row.removed_at is not None
        if row is None:
            row = Connector(kind=kind_name, name=name, revision=0, created_by=principal)
        elif created:
            pointers.withdraw(row)  # complete a removal that was cut short
            row.enabled, row.paused_at, row.paused_by = True, None, ""
        _check_owner(row, created, source, expected)
        was, before = _audit_view(row), (row.settings, row.secrets)
        afresh = whole or created
        row.settings = _judged_settings(kind, {} if afresh else row.settings, settings)
        kept = {} if afresh else dict(row.secrets)
        row.secrets = _places(kind, row, kept, given)
        kind.check(row.settings, sorted(row.secrets))
        if whole and not created and before == (row.settings, row.secrets) and _are_stored(row, given):
            return row, False  # every change of the file applies all of it; this connector has not changed
        _store_values(row, given)
        row.source, row.removed_at, row.revision = source, None, row.revision + 1
        row.save()
        audit.record(
            "connector.created" if created else "connector.updated",
            "connector",
            str(row),
            before=None if created else was,
            after=_audit_view(row)
            | dict.fromkeys(_rewritten(kind, before[0], row.settings), "given")
            | {field: "given" for field, place in given.items() if place is not None},
        )
    logger.info("connector written", extra={"action": "connectors.put", "connector": str(row)})
    return row, created


def trial(connector: Connector, body: Mapping[str, Any] | None = None) -> InboundEvent:
    """Return an event to test the connector with: the kind's own, or the one in ``body``; never a repeat.

    Raises: ConnectorInvalid (the kind reads none), and what reading a real event raises.
    """
    kind = kind_of(connector.kind)
    if body is None:
        return kind.test_event(connector)
    if not isinstance(kind, ReadsTrials):
        raise ConnectorInvalid(f"the test of {connector.kind} connectors takes no event of yours")
    event, name = kind.trial(connector, body), new_id("test")
    return replace(
        event,
        key=f"{connector}:{name}",
        receipt_key="",
        fingerprint=sha256_hex(name),
        metadata={**event.metadata, "test_event": True},
    )


def kind_of(name: str) -> Kind:
    """Return a kind by name. Raises: NotFound(connector_kind_not_found)."""
    kind = registry.kind(name)
    if kind is None:
        known = ", ".join(registry.kind_names())
        raise NotFound(
            f"there is no kind {name}; there are: {known}",
            code="connector_kind_not_found",
            domain="connectors",
        )
    return kind


def _check_owner(row: Connector, created: bool, source: str, expected: frozenset[int] | None) -> None:
    if not created and row.source != source:
        raise ConnectorFromFile(f"{row} belongs to the {row.source}; it cannot also be written here")
    revisions.check(row.revision, expected)


def _judged_settings(kind: Kind, stored: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole settings, checked by the kind's serializer, with reply targets in normal form."""
    if isinstance(kind, KeepsValues):
        given = kind.completed(given, stored)
    shape = kind.settings(data={**stored, **given})
    shape.is_valid(raise_exception=True)
    settings = _plain(shape.validated_data)
    for member in TARGET_SETTINGS:
        if member in settings:
            settings[member] = handles.normal_list(settings[member])
    persona_id = settings.get("session_policy", {}).get("persona_id")
    if persona_id and not Persona.objects.filter(persona_id=persona_id, retired_at=None).exists():
        raise ConnectorInvalid(f"there is no persona {persona_id}")
    return settings


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _places(
    kind: Kind, row: Connector, kept: dict[str, Any], given: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Return where each secret is kept after the change."""
    unknown = sorted(set(given) - set(kind.secrets))
    if unknown:
        known = ", ".join(kind.secrets)
        raise ConnectorInvalid(f"{kind.name} connectors have no secret {unknown[0]}; they have: {known}")
    for field, place in given.items():
        if place is None:
            kept.pop(field, None)
        else:
            kept[field] = _place(row, field, place)
    return kept


def _place(row: Connector, field: str, given: Any) -> dict[str, str]:
    pairs = list(given.items()) if isinstance(given, Mapping) else []
    origin, text = pairs[0] if len(pairs) == 1 else ("", "")
    if origin not in ("value", "secret_ref", "env") or not isinstance(text, str) or not text:
        raise ConnectorInvalid(f"{field} is one of value, secret_ref and env, and not empty")
    if origin == "value":
        return {"origin": "inline", "slot": slot_of(row, field)}
    if origin == "env":
        return {"origin": "env", "env": text}
    if not SecretSlot.objects.filter(slot_id=text).exists():
        raise no_slot(text, provider=row.kind)
    return {"origin": "secret_ref", "slot": text}


def slot_of(row: Connector, field: str) -> str:
    """Return the name of the slot that keeps a value given inline."""
    return f"connectors.{row.kind}.{row.name}.{field}"


def _are_stored(row: Connector, given: Mapping[str, Any]) -> bool:
    """Tell whether the values given inline are the ones stored already."""
    values = {
        slot_of(row, field): place["value"] for field, place in given.items() if place and "value" in place
    }
    slots = {slot.slot_id: slot for slot in SecretSlot.objects.filter(slot_id__in=values)}
    return all(name in slots and secrets.holds(slots[name], value) for name, value in values.items())


def _store_values(row: Connector, given: Mapping[str, Any]) -> None:
    for field, place in given.items():
        if place is not None and "value" in place:
            secrets.put(slot_of(row, field), provider=row.kind, value=place["value"], mode="connector")


def set_paused(kind: str, name: str, paused: bool, *, principal: str) -> Connector:
    """Pause a connector or let it go on; a repeat changes nothing. Raises: ConnectorMissing."""
    with write():
        row = _locked(kind, name)
        if (row.paused_at is not None) != paused:
            row.paused_at, row.paused_by = (clock.now(), principal) if paused else (None, "")
            _save(row, "paused_at", "paused_by")
            audit.record("connector.paused" if paused else "connector.resumed", "connector", str(row))
    return row


def set_enabled(kind: str, name: str, enabled: bool) -> Connector:
    """Switch a connector on or off; a repeat changes nothing. Raises: ConnectorMissing."""
    with write():
        row = _locked(kind, name)
        if row.enabled != enabled:
            row.enabled = enabled
            _save(row, "enabled")
            audit.record("connector.enabled" if enabled else "connector.disabled", "connector", str(row))
    return row


def delete(kind: str, name: str, *, source: str = ConnectorSource.DAEMON) -> None:
    """Remove a connector, the secrets given with it, and the sessions' default reply targets through it.

    Its receipts stay. The sessions lose the targets after the commit, one at a time; ``put`` completes that
    before a connector of the same name begins. Raises: ConnectorMissing, ConnectorFromFile, ConnectorInUse.
    """
    with write():
        exclusive("configuration")
        row = _locked(kind, name)
        if row.source != source:
            raise ConnectorFromFile(f"{row} belongs to the {row.source}; remove it there")
        users = [str(other) for other in everything().exclude(pk=row.pk) if _answers_through(other, row)]
        users += [f"observation-schedule:{schedule_id}" for schedule_id in pointers.schedules_of(row)]
        if users:
            raise ConnectorInUse(f"{row} is a reply target of {', '.join(users)}", referenced_by=users)
        inline = [place["slot"] for place in row.secrets.values() if place["origin"] == "inline"]
        audit.record("connector.deleted", "connector", str(row), before=_audit_view(row))
        row.removed_at, row.secrets = clock.now(), {}
        _save(row, "removed_at", "secrets")
        identities.forget_all(row)
        for slot_id in inline:
            secrets.delete(slot_id)
    after_commit(lambda: pointers.withdraw(row))
    logger.info("connector removed", extra={"action": "connectors.delete", "connector": str(row)})


def _audit_view(row: Connector) -> dict[str, Any]:
    """Return a connector as the audit log keeps it: its settings, and where its secrets come from."""
    secrets_from = {field: place.get("origin", "") for field, place in row.secrets.items()}
    return {"settings": shown_settings(row), "secrets": secrets_from, "source": str(row.source)}


def _rewritten(kind: Kind, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the names of the hidden values that have changed."""
    if not isinstance(kind, KeepsValues):
        return []
    old = kind.kept(before)
    return [name for name, value in kind.kept(after).items() if old.get(name) != value]


def _answers_through(other: Connector, row: Connector) -> bool:
    targets = [handle for member in TARGET_SETTINGS for handle in other.settings.get(member, [])]
    return any(handles.goes_through(handle, row) for handle in targets)


def _locked(kind: str, name: str) -> Connector:
    row = locked(everything().filter(kind=kind, name=name)).first()
    if row is None:
        raise ConnectorMissing(f"there is no {kind} connector {name}")
    return row


def _save(row: Connector, *fields: str) -> None:
    row.revision += 1
    row.save(update_fields=[*fields, "revision", "updated_at"])


def users_of_slots(slot_ids: list[str]) -> dict[str, list[str]]:
    """Return for each slot the connectors that name it (``ports.SlotUsers``)."""
    wanted, users = set(slot_ids), {slot_id: list[str]() for slot_id in slot_ids}
    for connector in everything():
        for slot_id in sorted(wanted & _slots_of(connector)):
            users[slot_id].append(f"connector:{connector}")
    return users


def _slots_of(connector: Connector) -> set[str]:
    """Return the slots of its secret fields, and those its settings name."""
    kind = registry.kind(connector.kind)
    named: list[str] = kind.slots_of(connector.settings) if isinstance(kind, NamesSlots) else []
    return {place["slot"] for place in connector.secrets.values() if "slot" in place} | set(named)

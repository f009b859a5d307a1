"""Personas: every edit is a new revision; sessions keep the one they bound."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db.models import QuerySet

from kheish_site.lib import clock, revisions
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest, Conflict, NotFound
from kheish_site.lib.transactions import exclusive, locked, write
from sessions_app.models import Persona, PersonaRevision
from sessions_app.services import audit, scopes

logger = logging.getLogger(__name__)


class PersonaMissing(NotFound):
    """No such persona, or a retired one where one is to be bound."""

    code, domain = "persona_not_found", "personas"


class PersonaExists(Conflict):
    """Another persona has this id, retired ones included."""

    code, domain = "persona_exists", "personas"


class PersonaRetired(Conflict):
    """A retired persona takes no more edits."""

    code, domain = "persona_retired", "personas"


@dataclass(frozen=True, kw_only=True)
class PersonaFields:
    """What an operator writes of a persona. ``owner`` belongs to the persona, the rest to its revision."""

    display_name: str = ""
    soul: str = ""
    owner: str = ""
    capability_scope: dict[str, Any] = field(default_factory=dict)
    default_skills: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)


_OF_REVISION = tuple(name for name in PersonaFields.__dataclass_fields__ if name != "owner")


def create(persona_id: str, fields: PersonaFields, *, principal: str = "") -> Persona:
    """Make a persona with its first revision. Raises: PersonaExists, BadRequest."""
    with write():
        exclusive("configuration")
        if Persona.objects.filter(persona_id=persona_id).exists():
            raise PersonaExists(f"there is a persona {persona_id} already")
        persona = Persona.objects.create(persona_id=persona_id, owner=fields.owner or principal)
        values = {name: getattr(fields, name) for name in _OF_REVISION}
        values["display_name"] = values["display_name"] or persona_id
        _add_revision(persona, 1, values, principal)
        audit.record("persona.created", "persona", persona_id, after=_told(values, persona))
    logger.info("persona created", extra={"action": "personas.create", "persona_id": persona_id})
    return persona


def update(
    persona_id: str,
    changes: Mapping[str, Any],
    *,
    expected: frozenset[int] | None = None,
    principal: str = "",
) -> Persona:
    """Add a revision with the fields given changed (those of ``PersonaFields``).

    Sessions that bound an earlier revision keep it. ``expected`` lists acceptable revisions, None any.
    Raises: PersonaMissing, PersonaRetired, PreconditionFailed, BadRequest.
    """
    with write():
        persona = locked(Persona.objects.filter(persona_id=persona_id)).first()
        if persona is None:
            raise PersonaMissing(f"there is no persona {persona_id}")
        revisions.check(persona.current, expected)
        if persona.retired_at is not None:
            raise PersonaRetired(f"persona {persona_id} is retired")
        before = persona.revisions.get(revision=persona.current)
        was = _told({name: getattr(before, name) for name in _OF_REVISION}, persona)
        values = {name: changes.get(name, getattr(before, name)) for name in _OF_REVISION}
        persona.current += 1
        persona.owner = changes.get("owner", persona.owner)
        _add_revision(persona, persona.current, values, principal)
        persona.save(update_fields=["current", "owner", "updated_at"])
        audit.record("persona.updated", "persona", persona_id, before=was, after=_told(values, persona))
    logger.info(
        "persona updated",
        extra={"action": "personas.update", "persona_id": persona_id, "revision": persona.current},
    )
    return persona


def retire(persona_id: str) -> Persona:
    """Take a persona out of use: no session binds it any more, bound ones go on. Idempotent.

    Raises: PersonaMissing.
    """
    with write():
        persona = locked(Persona.objects.filter(persona_id=persona_id)).first()
        if persona is None:
            raise PersonaMissing(f"there is no persona {persona_id}")
        if persona.retired_at is None:
            persona.retired_at = clock.now()
            persona.save(update_fields=["retired_at", "updated_at"])
            audit.record("persona.retired", "persona", persona_id)
            logger.info("persona retired", extra={"action": "personas.retire", "persona_id": persona_id})
    return persona


def _told(values: Mapping[str, Any], persona: Persona) -> dict[str, Any]:
    """Return what the audit log says of a revision: never the soul, only whether it is another one."""
    told = {name: value for name, value in values.items() if name != "soul"}
    return told | {
        "owner": persona.owner,
        "soul_sha256": sha256_hex(str(values["soul"])),
        "revision": persona.current,
    }


def everything() -> QuerySet[Persona]:
    """Return all personas, retired ones included."""
    return Persona.objects.all()


def get(persona_id: str) -> Persona:
    """Return one persona. Raises: PersonaMissing."""
    persona = Persona.objects.filter(persona_id=persona_id).first()
    if persona is None:
        raise PersonaMissing(f"there is no persona {persona_id}")
    return persona


def to_bind(persona_id: str) -> PersonaRevision:
    """Return the revision that a session binds now. Raises: PersonaMissing (none, or it is retired)."""
    persona = Persona.objects.filter(persona_id=persona_id, retired_at=None).first()
    if persona is None:
        raise PersonaMissing(f"there is no persona {persona_id}")
    return persona.revisions.get(revision=persona.current)


def revision_view(bound: PersonaRevision) -> dict[str, Any]:
    """Return a bound revision as views and the journal show it: never the soul. Needs its persona loaded."""
    return {
        "persona_id": bound.persona.persona_id,
        "revision": bound.revision,
        "display_name": bound.display_name,
    }


def _add_revision(persona: Persona, number: int, values: Mapping[str, Any], principal: str) -> None:
    if not values["display_name"].strip():
        raise BadRequest("display_name may not be blank", code="invalid_persona", domain="personas")
    checked = dict(values) | {"capability_scope": scopes.capability_scope(values["capability_scope"])}
    PersonaRevision.objects.create(persona=persona, revision=number, created_by=principal, **checked)

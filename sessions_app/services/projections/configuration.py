"""Personas, routes, secret slots, tokens and live settings as clients see them. No secret is in any."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.db.models import Count, F, Q

from kheish_site.lib import clock
from kheish_site.lib.redaction import redact
from sessions_app.models import ApiToken, Persona, PersonaRevision, Route, RuntimeRevision, SecretSlot
from sessions_app.services import routes, runtime_settings, secrets
from sessions_app.services.projections.shape import View, known, time


def persona_views(rows: Iterable[Persona]) -> list[View]:
    """Return the personas in the order given; two queries whatever their number."""
    personas = list(rows)
    pks = [row.pk for row in personas]
    of_these = PersonaRevision.objects.filter(persona_id__in=pks)
    current = {row.persona_id: row for row in of_these.filter(revision=F("persona__current"))}
    bound = Count("session", filter=Q(session__ended_at__isnull=True))
    revisions: dict[int, list[PersonaRevision]] = defaultdict(list)
    for revision in of_these.defer("soul").annotate(bound=bound).order_by("-revision"):
        revisions[revision.persona_id].append(revision)
    return [_persona(row, current[row.pk], revisions[row.pk]) for row in personas]


def _persona(row: Persona, current: PersonaRevision, revisions: list[PersonaRevision]) -> View:
    sessions = sum(_bound(revision) for revision in revisions)
    status = "active" if row.retired_at is None else "draining" if sessions else "retired"
    return {
        "persona_id": row.persona_id,
        "display_name": redact(current.display_name),
        "owner": row.owner,
        "revision": row.current,
        "soul": redact(current.soul),
        "status": status,
        "capability_scope": current.capability_scope,
        "default_skills": current.default_skills,
        "metadata": redact(current.metadata),
        "revisions": [_revision(row, revision) for revision in revisions],
        "sessions": sessions,
        "created_at": time(row.created_at),
        "updated_at": time(row.updated_at),
        **known(retired_at=time(row.retired_at)),
    }


def _revision(persona: Persona, row: PersonaRevision) -> View:
    in_force = row.revision == persona.current and persona.retired_at is None
    return {
        "revision": row.revision,
        "display_name": redact(row.display_name),
        "status": "active" if in_force else "draining" if _bound(row) else "retired",
        "sessions": _bound(row),
        "created_by": row.created_by,
        "created_at": time(row.created_at),
    }


def _bound(row: PersonaRevision) -> int:
    return int(getattr(row, "bound", 0))


def route_views(rows: Iterable[Route]) -> list[View]:
    """Return the routes with their readiness, in the order given; one query more."""
    found = list(rows)
    problems = routes.readiness_of(found)
    doubts = {row.route_id: routes.doubts(row) for row in found}
    return [
        {
            "route_id": row.route_id,
            "driver": row.driver,
            "base_url": row.base_url,
            "model": row.model,
            "auth_ref": row.auth_ref,
            "fallbacks": row.fallbacks,
            "default": row.is_default,
            "options": redact(row.options),
            "status": "error" if problems[row.route_id] else "warning" if doubts[row.route_id] else "ok",
            "problems": [*problems[row.route_id], *doubts[row.route_id]],
            "revision": row.revision,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
        }
        for row in found
    ]


def secret_views(rows: Iterable[SecretSlot]) -> list[View]:
    """Return the slots without their values, in the order given; one query more."""
    found = list(rows)
    references = secrets.references([row.slot_id for row in found])
    return [
        {
            "slot_id": row.slot_id,
            "provider": row.provider,
            "mode": row.mode,
            "state": "stored" if secrets.is_readable(row) else "unreadable",
            "revision": row.revision,
            "referenced_by": references[row.slot_id],
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
        }
        for row in found
    ]


def token_view(row: ApiToken) -> View:
    """Return one token without its secret."""
    return {
        "token_id": row.token_id,
        "name": row.name,
        "role": row.role,
        "rights": row.rights,
        "status": _token_status(row),
        "created_by": row.created_by,
        "created_at": time(row.created_at),
        **known(
            expires_at=time(row.expires_at),
            last_used_at=time(row.last_used_at),
            revoked_at=time(row.revoked_at),
        ),
    }


def _token_status(row: ApiToken) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= clock.now() else "active"


def runtime_view() -> View:
    """Return the live settings and the routes; three queries."""
    live = runtime_settings.current()
    all_routes = list(routes.everything())
    default = next((route for route in all_routes if route.is_default), None)
    return {
        "default_route": default.route_id if default is not None else None,
        "provider": default.driver if default is not None else None,
        "model": default.model if default is not None else None,
        "permission_mode": live.permission_mode,
        "permission_rules": {"project": list(live.project_rules), "user": list(live.user_rules)},
        "unknown_effects": live.unknown_effects,
        "system_prompt": redact(asdict(live.system_prompt)),
        "routes": route_views(all_routes),
        "config": {"revision": live.revision, **known(updated_at=time(live.updated_at))},
    }


def runtime_revision_view(row: RuntimeRevision) -> View:
    """Return one revision of the live settings."""
    values: dict[str, Any] = dict(row.values)
    of = values.pop("rollback_of", None)
    return {
        "revision": row.revision,
        "setting": row.setting,
        "values": redact(values),
        "created_by": row.created_by,
        "created_at": time(row.created_at),
        **known(rollback_of_revision=of),
    }

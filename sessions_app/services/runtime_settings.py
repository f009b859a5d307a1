"""The daemon's live settings, as revisions: a change appends one, a rollback appends an older one.

Changes are serialised and affect future work only; runs keep what they pinned.
"""

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, Literal

from django.db.models import QuerySet

from kheish_site.lib.errors import BadRequest, Conflict, NotFound
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.transactions import exclusive, write
from sessions_app.models import RuntimeRevision, UnknownEffects
from sessions_app.services import audit, routes
from sessions_app.tools import policy

logger = logging.getLogger(__name__)

Setting = Literal["model", "permission-mode", "permission-rules", "system-prompt", "unknown-effects"]
_PROMPT_LIMIT: Final = 100_000


class RevisionConflict(Conflict):
    """Somebody changed the settings since ``expected_revision``; ``current_revision`` says where they are."""

    code, domain = "runtime_revision_conflict", "runtime"


class RevisionMissing(NotFound):
    """No such revision."""

    code, domain = "runtime_revision_not_found", "runtime"


class SettingInvalid(BadRequest):
    """The value of a setting breaks its rule."""

    code, domain = "invalid_runtime_setting", "runtime"


@dataclass(frozen=True, kw_only=True)
class SystemPrompt:
    """What the daemon adds to every run's system prompt; ``override_prompt`` replaces everything."""

    override_prompt: str = ""
    custom_prompt: str = ""
    append_prompt: str = ""


@dataclass(frozen=True, kw_only=True)
class RuntimeSettings:
    """The settings in force. ``revision`` 0 is a fresh installation.

    ``default_route`` and ``model`` record what a model change last set; the route rows are the truth.
    """

    revision: int = 0
    updated_at: datetime | None = None
    permission_mode: str = "default"
    unknown_effects: str = UnknownEffects.ASK
    system_prompt: SystemPrompt = field(default_factory=SystemPrompt)
    project_rules: tuple[dict[str, Any], ...] = ()
    user_rules: tuple[dict[str, Any], ...] = ()
    default_route: str = ""
    model: str = ""


_NEWEST: Final = Prepared[RuntimeRevision](lambda: RuntimeRevision.objects.order_by("-revision")[:1])


def current() -> RuntimeSettings:
    """Return the settings in force; one query."""
    row = _NEWEST.first()
    return _decoded(row) if row is not None else RuntimeSettings()


@lru_cache(maxsize=64)
def at(revision: int) -> RuntimeSettings:
    """Return the settings of one revision, which never change. Raises: RevisionMissing."""
    return _at(revision)


def system_prompt(live: RuntimeSettings) -> str:
    """Return the daemon's part of the system prompt, as a run pins it."""
    prompt = live.system_prompt
    if prompt.override_prompt:
        return prompt.override_prompt
    return "\n\n".join(part for part in (prompt.custom_prompt, prompt.append_prompt) if part)


def change(
    setting: Setting, values: Mapping[str, Any], *, expected_revision: int | None = None, principal: str = ""
) -> RuntimeSettings:
    """Replace one setting: ``model`` {route_id?, model?}, ``permission-mode`` {mode},
    ``permission-rules`` {project?, user?}, ``system-prompt`` {settings}, ``unknown-effects`` {mode}.

    Raises: RevisionConflict, SettingInvalid, RouteMissing.
    """
    with write():
        live = _locked(expected_revision)
        changed = _changed(live, setting, values)
        if setting == "model":
            _apply_model(changed)
        row = _append(setting, changed, live, principal)
    logger.info(
        "runtime setting changed",
        extra={"action": "runtime.change", "setting": setting, "revision": row.revision},
    )
    return _decoded(row)


def rollback(
    target_revision: int | None = None, *, expected_revision: int | None = None, principal: str = ""
) -> RuntimeSettings:
    """Append the settings of an older revision (by default the one before) as a new one.

    Raises: RevisionConflict, RevisionMissing.
    """
    with write():
        live = _locked(expected_revision)
        target = live.revision - 1 if target_revision is None else target_revision
        old = _at(target)
        if old.default_route != live.default_route or old.model != live.model:
            _apply_model(old)
        row = _append("rollback", old, live, principal, rollback_of=target)
    logger.info(
        "runtime settings rolled back",
        extra={"action": "runtime.rollback", "target": target, "revision": row.revision},
    )
    return _decoded(row)


def revisions() -> QuerySet[RuntimeRevision]:
    """Return all revisions."""
    return RuntimeRevision.objects.all()


def _locked(expected_revision: int | None) -> RuntimeSettings:
    exclusive("configuration")
    live = current()
    if expected_revision is not None and expected_revision != live.revision:
        raise RevisionConflict(f"revision {live.revision} is current", current_revision=live.revision)
    return live


def _changed(live: RuntimeSettings, setting: Setting, values: Mapping[str, Any]) -> RuntimeSettings:
    match setting:
        case "model":
            return _with_model(live, values)
        case "permission-mode":
            return replace(live, permission_mode=_one_of(values["mode"], policy.MODES))
        case "permission-rules":
            return replace(live, **_rules(values))
        case "system-prompt":
            return replace(live, system_prompt=_prompt(values["settings"]))
        case "unknown-effects":
            return replace(live, unknown_effects=_one_of(values["mode"], UnknownEffects.values))


def _with_model(live: RuntimeSettings, values: Mapping[str, Any]) -> RuntimeSettings:
    default = routes.default()
    route_id = values.get("route_id") or (default.route_id if default is not None else "")
    route = routes.get(route_id)
    return replace(live, default_route=route.route_id, model=values.get("model") or route.model)


def _apply_model(wanted: RuntimeSettings) -> None:
    """Make the route rows say what the settings say; a route that is gone is left alone."""
    if not wanted.default_route or not routes.everything().filter(route_id=wanted.default_route).exists():
        return
    route = routes.set_default(wanted.default_route)
    if wanted.model != route.model:
        routes.update(route.route_id, {"model": wanted.model})


def _rules(values: Mapping[str, Any]) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for scope in ("project", "user"):
        if scope in values:
            policy.parse_rules(scope, values[scope])
            changed[f"{scope}_rules"] = tuple(values[scope])
    return changed


def _prompt(values: Mapping[str, Any]) -> SystemPrompt:
    prompt = SystemPrompt(**{name: str(text or "") for name, text in values.items()})
    if any(len(text) > _PROMPT_LIMIT for text in asdict(prompt).values()):
        raise SettingInvalid(f"a prompt may have {_PROMPT_LIMIT} characters")
    return prompt


def _one_of(value: str, allowed: Any) -> str:
    if value not in allowed:
        raise SettingInvalid(f"must be one of {', '.join(allowed)}")
    return value


def _at(revision: int) -> RuntimeSettings:
    if revision == 0:
        return RuntimeSettings()
    row = RuntimeRevision.objects.filter(revision=revision).first()
    if row is None:
        raise RevisionMissing(f"there is no revision {revision}")
    return _decoded(row)


def _append(
    setting: str, wanted: RuntimeSettings, was: RuntimeSettings, principal: str, **notes: Any
) -> RuntimeRevision:
    values = asdict(wanted)
    del values["revision"], values["updated_at"]
    row = RuntimeRevision.objects.create(
        revision=was.revision + 1, setting=setting, values=values | notes, created_by=principal
    )
    old = asdict(was)
    del old["revision"], old["updated_at"]
    action = "runtime.rolled_back" if notes else "runtime.changed"
    audit.record(action, "runtime", setting, before=old, after=values)
    return row


def _decoded(row: RuntimeRevision) -> RuntimeSettings:
    """Return a row's settings; members a later version knows and this one does not are left aside."""
    known = {name: row.values[name] for name in RuntimeSettings.__dataclass_fields__ if name in row.values}
    known["system_prompt"] = SystemPrompt(**known.get("system_prompt", {}))
    for name in ("project_rules", "user_rules"):
        known[name] = tuple(known.get(name, ()))
    return RuntimeSettings(**known | {"revision": row.revision, "updated_at": row.created_at})

"""Sessions: created, set up, ended. Runs are in ``runs``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction

from kheish_site.lib import clock, revisions
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest, Conflict
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.redaction import redact
from kheish_site.lib.transactions import locked, require_transaction, write
from sessions_app.models import LIVE, PersonaRevision, Session, UnknownEffects
from sessions_app.services import journal, personas, runtime_settings
from sessions_app.services.writes import SessionMissing
from sessions_app.tools.policy import MODES

MOST_BINDING_KEYS_SHOWN: Final = 50


class SessionBusy(Conflict):
    """The change needs a session with no active or queued run."""

    code, domain = "session_busy", "sessions"


@dataclass(frozen=True, kw_only=True)
class NewSession:
    """What a creator may say. Everything has a default."""

    session_id: str = ""
    thread_id: str = ""
    persona_id: str = ""
    permission_mode: str = ""
    permission_rules: list[dict[str, Any]] = field(default_factory=list)
    route_policy: dict[str, Any] = field(default_factory=dict)
    unknown_effects: str = ""
    capability_scope: dict[str, Any] = field(default_factory=dict)
    credential_scope: dict[str, Any] = field(default_factory=dict)
    reply_targets: list[Any] = field(default_factory=list)


_BY_ID: Final = Prepared[Session](
    lambda session_id: (
        Session.objects.select_related("persona__persona").filter(session_id=session_id).order_by()
    ),
    str,
)


def get(session_id: str) -> Session:
    """Return the session with its persona. Raises: SessionMissing."""
    found = find(session_id)
    if found is None:
        raise SessionMissing(f"there is no session {session_id}")
    return found


def find(session_id: str) -> Session | None:
    """Return the session with its persona, or None."""
    return _BY_ID.first(session_id)


_LOCK: Final = Prepared[tuple[int]](
    lambda pk: locked(Session.objects.filter(pk=pk).order_by()).values_list("pk"), int
)


def lock(*pks: int) -> None:
    """Lock the rows of sessions until the transaction ends, by key: the first lock of whoever takes several.

    Needs an open transaction.
    """
    require_transaction()
    for pk in sorted(set(pks)):
        _LOCK.all(pk)


def create(new: NewSession, *, principal: str) -> tuple[Session, bool]:
    """Create the session, or return the one of that id; the flag says whether it is new.

    Reuse with another persona or scope is refused (409 ``session_exists``).
    Raises: BadRequest (id), PersonaMissing, Conflict.
    """
    session_id = new.session_id or new_id("session")
    check_id(session_id)
    _check_mode(new.permission_mode)
    persona = personas.to_bind(new.persona_id) if new.persona_id else None
    with write():
        try:
            with transaction.atomic():
                session = _insert(session_id, new, persona, principal)
        except IntegrityError:
            return _reuse(get(session_id), new), False
        payload = {"principal": principal, "persona": persona_view(session), "thread_id": new.thread_id}
        journal.append(session.pk, journal.entry(session_id, "session.created", payload))
    return get(session_id), True


def check_id(session_id: str) -> None:
    """Refuse ids that cannot stand in a path. Raises: BadRequest."""
    bad = not session_id.strip() or session_id in (".", "..") or len(session_id) > 200
    if bad or any(char in "/\\?#%" or not char.isprintable() or char.isspace() for char in session_id):
        raise BadRequest(
            "a session id has 1 to 200 printable characters without space, slash, ?, # and %",
            code="invalid_session_id",
            domain="sessions",
        )


def _insert(session_id: str, new: NewSession, persona: PersonaRevision | None, principal: str) -> Session:
    now = clock.now()
    return Session.objects.create(
        session_id=session_id,
        thread_id=new.thread_id,
        persona=persona,
        persona_bound_at=now if persona else None,
        route_policy=new.route_policy,
        permission_mode=new.permission_mode,
        permission_rules=new.permission_rules,
        unknown_effects=new.unknown_effects or runtime_settings.current().unknown_effects,
        capability_scope=new.capability_scope,
        credential_scope=new.credential_scope,
        reply_targets=new.reply_targets,
        workspace=_folder_name(session_id),
        created_by=principal,
    )


def _reuse(session: Session, new: NewSession) -> Session:
    bound = session.persona.persona.persona_id if session.persona else ""
    differs = bool(new.persona_id) and new.persona_id != bound
    for scope in ("capability_scope", "credential_scope"):
        wanted = getattr(new, scope)
        differs = differs or (bool(wanted) and wanted != getattr(session, scope))
    if differs:
        raise Conflict(
            f"session {session.session_id} exists with another persona or scope",
            code="session_exists",
            domain="sessions",
        )
    return session


def _folder_name(session_id: str) -> str:
    """Return a folder name that no id can bend: the readable part, and a digest of the whole."""
    readable = "".join(char if char.isalnum() or char in "-_" else "-" for char in session_id)[:60]
    return f"{readable}-{sha256_hex(session_id)[:12]}"


def workspace(session: Session) -> Path:
    """Return the session's folder, made on first use (0700)."""
    folder = Path(settings.KHEISH.workspace_root) / session.workspace
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def persona_view(session: Session) -> dict[str, Any] | None:
    """Return the binding as views and the journal show it: never the soul."""
    bound = session.persona
    if bound is None:
        return None
    return personas.revision_view(bound) | {"bound_at": clock.rfc3339(session.persona_bound_at)}


def has_live_runs(session: Session) -> bool:
    """Tell whether a run of the session is active or queued."""
    return session.runs.filter(status__in=sorted(LIVE)).exists()


def change(
    session_id: str,
    apply: Callable[[Session], dict[str, Any]],
    *,
    principal: str,
    kind: str = "session.updated",
    idle: bool = False,
    expected_revision: int | None = None,
) -> Session:
    """Change one session under its lock and journal it as ``kind``; the door of every setting.

    ``apply`` changes the row and returns what the journal says, with ``_fields`` to be saved; without any
    nothing is written.
    Raises: SessionMissing, PreconditionFailed, SessionBusy.
    """
    with write():
        row = locked(Session.objects.select_related("persona__persona").filter(session_id=session_id)).first()
        if row is None:
            raise SessionMissing(f"there is no session {session_id}")
        if expected_revision is not None:
            revisions.check(row.revision, frozenset({expected_revision}))
        if idle and has_live_runs(row):
            raise SessionBusy(f"session {session_id} has active or queued runs")
        changed = apply(row)
        if fields := changed.pop("_fields"):
            row.revision += 1
            row.save(update_fields=[*fields, "revision"])
            journal.append(row.pk, journal.entry(session_id, kind, {"principal": principal, **changed}))
    return get(session_id)


def set_route_policy(
    session_id: str, policy: Mapping[str, Any], *, principal: str, expected_revision: int | None = None
) -> Session:
    """Replace the default route and generation of future runs; created runs keep theirs."""

    def apply(row: Session) -> dict[str, Any]:
        was, row.route_policy = row.route_policy, dict(policy)
        return {"_fields": ["route_policy"], "route_policy": {"from": was, "to": row.route_policy}}

    return change(session_id, apply, principal=principal, expected_revision=expected_revision)


def note_binding_keys(session: Session, keys: list[str], *, principal: str) -> None:
    """Show and journal the conversations that were just bound to the session. Needs the open transaction.

    The rows that hold the bindings belong to the connectors; the session shows the newest names.
    """
    require_transaction()
    row = locked(Session.objects.filter(pk=session.pk)).only("binding_keys").get()
    names = [*(name for name in row.binding_keys if name not in keys), *keys][-MOST_BINDING_KEYS_SHOWN:]
    Session.objects.filter(pk=session.pk).update(binding_keys=names)
    payload = {"principal": principal, "keys": sorted(keys)}
    journal.append(session.pk, journal.entry(session.session_id, "session.bound", payload))


def set_permission_mode(
    session_id: str, mode: str, *, principal: str, expected_revision: int | None = None
) -> Session:
    """Set the session's permission mode for future runs; ``""`` follows the daemon again."""
    _check_mode(mode)

    def apply(row: Session) -> dict[str, Any]:
        was, row.permission_mode = row.permission_mode, mode
        return {"_fields": ["permission_mode"], "permission_mode": {"from": was, "to": mode}}

    return change(session_id, apply, principal=principal, expected_revision=expected_revision)


def set_permission_rules(
    session_id: str, rules: list[dict[str, Any]], *, principal: str, expected_revision: int | None = None
) -> Session:
    """Replace the session's own permission rules (``tools.policy.Rule`` as mappings)."""

    def apply(row: Session) -> dict[str, Any]:
        was, row.permission_rules = row.permission_rules, rules
        return {"_fields": ["permission_rules"], "permission_rules": {"from": was, "to": rules}}

    return change(session_id, apply, principal=principal, expected_revision=expected_revision)


def set_unknown_effects(
    session_id: str, choice: str, *, principal: str, expected_revision: int | None = None
) -> Session:
    """Choose what an effect of unknown outcome does: ``ask`` a person or ``tell`` the agent."""
    if choice not in UnknownEffects.values:
        raise BadRequest(f"unknown_effects is one of {', '.join(UnknownEffects.values)}")

    def apply(row: Session) -> dict[str, Any]:
        was, row.unknown_effects = row.unknown_effects, choice
        return {"_fields": ["unknown_effects"], "unknown_effects": {"from": was, "to": choice}}

    return change(session_id, apply, principal=principal, expected_revision=expected_revision)


def bind_persona(
    session_id: str, persona_id: str | None, *, principal: str, expected_revision: int | None = None
) -> Session:
    """Bind the persona's current revision as a snapshot, or clear it with None. Needs an idle session."""
    persona = personas.to_bind(persona_id) if persona_id else None

    def apply(row: Session) -> dict[str, Any]:
        row.persona, row.persona_bound_at = persona, clock.now() if persona else None
        return {"_fields": ["persona", "persona_bound_at"], "persona": persona_view(row)}

    return change(
        session_id,
        apply,
        principal=principal,
        kind="persona.bound",
        idle=True,
        expected_revision=expected_revision,
    )


def end(session_id: str, *, reason: str = "", principal: str) -> Session:
    """End the session: it takes no more input. Ending an ended one changes nothing. Needs it idle."""
    session = get(session_id)
    if session.ended_at is not None:
        return session

    def apply(row: Session) -> dict[str, Any]:
        row.ended_at, row.end_reason = row.ended_at or clock.now(), redact(reason)[:200]
        return {"_fields": ["ended_at", "end_reason"], "reason": reason}

    return change(session_id, apply, principal=principal, kind="session.ended", idle=True)


def _check_mode(mode: str) -> None:
    if mode and mode not in MODES:
        raise BadRequest(f"the permission mode is one of {', '.join(MODES)}", code="invalid_permission_mode")

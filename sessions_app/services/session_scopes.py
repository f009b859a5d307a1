"""The scopes of a session after its creation: what its agent may see, and what it may use.

Both are changed while the session is idle, so that no run goes on under another scope than it began with.
"""

from collections.abc import Mapping
from typing import Any

from sessions_app.models import Session
from sessions_app.services import reply_targets, scopes, sessions
from sessions_app.services.principal import Principal
from sessions_app.services.session_authority import check_scope_change


def effective_capabilities(session: Session) -> dict[str, list[str]]:
    """Return what the session's agent may see: its own scope and that of the persona it has bound."""
    persona = session.persona.capability_scope if session.persona else {}
    return scopes.effective_capabilities(session.capability_scope, persona)


def effective_credentials(session: Session) -> dict[str, list[str]]:
    """Return what the session's agent may use."""
    return scopes.effective_credentials(session.credential_scope)


def set_capability_scope(
    session_id: str, scope: Mapping[str, Any], *, principal: Principal, expected_revision: int | None = None
) -> Session:
    """Replace what the session's agent may see beside its persona's scope; ``{}`` clears it.

    Raises: BadRequest(invalid_scope), SessionMissing, PreconditionFailed, SessionBusy,
    ScopeWideningForbidden.
    """
    wanted = scopes.capability_scope(scope)

    def apply(row: Session) -> dict[str, Any]:
        was, row.capability_scope = row.capability_scope, wanted
        # Not what comes of it together with the persona's: operators may bind another one.
        check_scope_change(principal, to=wanted, was=was)
        return {"_fields": ["capability_scope"], "capability_scope": {"from": was, "to": wanted}}

    return sessions.change(
        session_id, apply, principal=principal.name, idle=True, expected_revision=expected_revision
    )


def set_credential_scope(
    session_id: str, scope: Mapping[str, Any], *, principal: Principal, expected_revision: int | None = None
) -> Session:
    """Replace what the session's agent may use; ``{}`` clears it. Raises as ``set_capability_scope``.

    Default reply targets that the scope does not include are taken away in the same commit, pinned or not.
    """
    wanted = scopes.credential_scope(scope)

    def apply(row: Session) -> dict[str, Any]:
        before, was = effective_credentials(row), row.credential_scope
        row.credential_scope = wanted
        check_scope_change(principal, to=effective_credentials(row), was=before)
        change = {"_fields": ["credential_scope"], "credential_scope": {"from": was, "to": wanted}}
        kept = reply_targets.within(row.reply_targets, wanted)
        if kept == row.reply_targets:
            return change
        targets = {"from": reply_targets.shown(row.reply_targets), "to": reply_targets.shown(kept)}
        row.reply_targets = kept
        return {**change, "_fields": ["credential_scope", "reply_targets"], "reply_targets": targets}

    return sessions.change(
        session_id, apply, principal=principal.name, idle=True, expected_revision=expected_revision
    )

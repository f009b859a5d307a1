"""Where an event goes: one target session, found in the documented order before a run is created.

The order: ``fixed_session_id`` of the connector, the session the caller names, the session bound to one of
the keys, the conversation's natural session. Source: docs/connectors.md, "Which session an event goes to".
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors_app.models import BindingKey, Connector
from connectors_app.services.contracts import InboundEvent
from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest, Conflict
from kheish_site.lib.transactions import require_transaction
from sessions_app.models import Session
from sessions_app.services import scopes, sessions
from sessions_app.services.sessions import NewSession
from sessions_app.services.writes import SessionMissing

DOMAIN: Final = "connector_ingress"
_SCOPES: Final = {"capability_scope": scopes.capability_scope, "credential_scope": scopes.credential_scope}


class SessionUnresolved(BadRequest):
    """Nothing in the event or the connector names a session."""

    code, domain = "session_unresolved", DOMAIN


class BindingAmbiguous(Conflict):
    """The event's keys are bound to several sessions, so its session cannot be known."""

    code, domain = "binding_keys_ambiguous", DOMAIN


class BindingTaken(Conflict):
    """A key of the event belongs to another session, and keys are never bound again."""

    code, domain = "binding_key_taken", DOMAIN


class CreationDisabled(Conflict):
    """The session does not exist and the connector may not create it."""

    code, domain = "session_creation_disabled", DOMAIN


class PolicyMismatch(Conflict):
    """The session does not meet the connector's policy."""

    code, domain = "session_policy_mismatch", DOMAIN


@dataclass(frozen=True, kw_only=True)
class Target:
    """The session an event goes to, how it was found, and which of the event's keys are bound already."""

    session_id: str
    found_by: str
    bound: Mapping[str, int]


def resolve(connector: Connector, event: InboundEvent) -> Target:
    """Return the target session's id; it may not exist yet. One query, none without keys.

    Raises: BindingAmbiguous, SessionUnresolved.
    """
    found = _bound(event.binding_keys) if event.binding_keys else []
    bound = {key: session_pk for key, session_pk, _ in found}
    named = {session_id for _, _, session_id in found}
    fixed = connector.settings.get("fixed_session_id")
    if fixed:
        return Target(session_id=fixed, found_by="fixed_session_id", bound=bound)
    if event.named_session_id:
        return Target(session_id=event.named_session_id, found_by="session_id", bound=bound)
    if len(named) > 1:
        raise BindingAmbiguous(
            "the binding keys belong to several sessions", session_ids=sorted(named), keys=sorted(bound)
        )
    if named:
        return Target(session_id=named.pop(), found_by="binding_key", bound=bound)
    if event.natural_session_id:
        return Target(session_id=event.natural_session_id, found_by="natural_id", bound=bound)
    raise SessionUnresolved("the event names no session: no fixed id, session id, binding key or thread")


def _bound(keys: Iterable[str]) -> list[tuple[str, int, str]]:
    """Return the keys that are bound, each with its session's primary key and id."""
    rows = BindingKey.objects.filter(digest__in=[sha256_hex(key) for key in keys])
    return list(rows.values_list("key", "session_id", "session__session_id"))


def ensure(connector: Connector, target: Target, *, principal: str) -> Session:
    """Return the target session, created as the connector's policy says when it is missing.

    Needs an open transaction. Raises: CreationDisabled, PolicyMismatch, PersonaMissing, BadRequest (id).
    """
    require_transaction()
    policy = _policy(connector)
    try:
        session = sessions.get(target.session_id)
    except SessionMissing:
        if not policy.get("create_if_missing", True):
            raise CreationDisabled(
                f"session {target.session_id} does not exist and {connector} may not create it"
            ) from None
        wanted = {name: policy[name] for name in ("persona_id", *_SCOPES) if policy.get(name)}
        session, _ = sessions.create(NewSession(session_id=target.session_id, **wanted), principal=principal)
    _check_policy(session, policy)
    return session


def existing(connector: Connector, target: Target) -> Session | None:
    """Return the target session if there is one; it must meet the policy. Raises: PolicyMismatch."""
    session = sessions.find(target.session_id)
    if session is not None:
        _check_policy(session, _policy(connector))
    return session


def _policy(connector: Connector) -> Mapping[str, Any]:
    """Return the connector's policy, its scopes in normal form as sessions have theirs."""
    policy: Mapping[str, Any] = connector.settings.get("session_policy") or {}
    return {**policy, **{name: normal(policy[name]) for name, normal in _SCOPES.items() if policy.get(name)}}


def _check_policy(session: Session, policy: Mapping[str, Any]) -> None:
    bound = session.persona.persona.persona_id if session.persona else ""
    differs = [
        name
        for name, normal in _SCOPES.items()
        if policy.get(name) and policy[name] != normal(getattr(session, name))
    ]
    if policy.get("persona_id") and policy["persona_id"] != bound:
        differs.append("persona_id")
    if differs:
        raise PolicyMismatch(
            f"session {session.session_id} differs from the connector's policy in {', '.join(differs)}",
            differs=differs,
        )


def bind_named(session: Session, keys: Collection[str], principal: str) -> None:
    """Bind the keys that a client names with an input to the session of that input.

    Needs the open transaction of the acceptance, as ``bind`` does. Raises: BindingTaken.
    """
    bound = {key: session_pk for key, session_pk, _ in _bound(keys)}
    target = Target(session_id=session.session_id, found_by="session_id", bound=bound)
    if new := bind(None, session, target, keys):
        sessions.note_binding_keys(session, new, principal=principal)


def bind(connector: Connector | None, session: Session, target: Target, keys: Iterable[str]) -> list[str]:
    """Bind the event's keys to its session for good; return those that are new.

    Needs the open transaction of the acceptance, before it locks the session's row: the lock order is keys,
    then session. Raises: BindingTaken.
    """
    require_transaction()
    wanted = sorted(set(keys), key=sha256_hex)
    _check_bound(session, target.bound)
    new = [key for key in wanted if key not in target.bound]
    if not new:
        return []
    now = clock.now()
    rows = [
        BindingKey(digest=sha256_hex(key), key=key, session=session, connector=connector, created_at=now)
        for key in new
    ]
    BindingKey.objects.bulk_create(rows, ignore_conflicts=True)
    written = BindingKey.objects.filter(digest__in=[row.digest for row in rows])
    _check_bound(session, dict(written.values_list("key", "session_id")))
    return new


def _check_bound(session: Session, bound: Mapping[str, int]) -> None:
    taken = sorted(key for key, session_pk in bound.items() if session_pk != session.pk)
    if taken:
        raise BindingTaken(f"a binding key belongs to another session than {session.session_id}", keys=taken)

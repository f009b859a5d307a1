"""Who calls, and what they may do: one answer for HTTP, sockets, the admin and commands."""

import logging
import time
from collections.abc import Collection, Iterable
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db.models import Q

from kheish_site.lib.buckets import TokenBuckets
from kheish_site.lib.errors import Forbidden, RateLimited, Unauthorized
from sessions_app.models import ApiToken, Right, Role
from sessions_app.services import audit, tokens
from sessions_app.services.principal import RANK, Principal

_MOST_FAILURES: Final = 60
"""Wrong tokens a minute from one address. Right ones are neither counted nor refused because of them."""
_FAILURES: Final = TokenBuckets()
_LIMITS: Final = TokenBuckets()
logger = logging.getLogger(__name__)


class TokenMissing(Unauthorized):
    """Nobody said who asks."""

    code, domain = "missing_token", "tokens"


class TokenMalformed(Unauthorized):
    """The header names no bearer token."""

    code, domain = "malformed_token", "tokens"


class InsufficientAccess(Forbidden):
    """The caller is known, and of a lesser role."""

    code, domain = "insufficient_access", "tokens"


class TooManyFailures(RateLimited):
    """One address sends wrong tokens again and again."""

    code, domain = "auth_rate_limited", "tokens"


def authenticate(authorization: str, user: Any, *, remote_addr: str = "") -> Principal:
    """Return the caller named by an ``Authorization`` header, or else by a logged-in ``user``.

    A header that is wrong is refused even when somebody is logged in. Costs one query (a token) or
    one beside the session's own (groups), and one more for an operator (rights).
    Raises: Unauthorized, TooManyFailures (over 60 wrong tokens a minute from one address, in one process).
    """
    if authorization:
        try:
            token = _bearer(authorization)
        except Unauthorized as error:
            _count_failure(remote_addr, error.error_code)
            raise
        return Principal(
            name=token.name,
            role=token.role,
            auth_method="token",
            remote_addr=remote_addr,
            rights=frozenset(token.rights),
        )
    if user is not None and user.is_authenticated:
        role = role_of(user)
        return Principal(
            name=user.get_username(),
            role=role,
            auth_method="session",
            remote_addr=remote_addr,
            rights=_rights_of(user) if role == Role.OPERATOR else frozenset(),
        )
    raise TokenMissing("sign in, or send an API token as bearer")


def _bearer(authorization: str) -> ApiToken:
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise TokenMalformed("the Authorization header must read: Bearer kh_...")
    return tokens.find(secret.strip())


def _count_failure(remote_addr: str, reason: str) -> None:
    """Log a wrong token. Above the limit nothing is logged, but once a minute the audit log gets an entry.

    Raises: TooManyFailures above the limit.
    """
    now = time.monotonic()
    if not _FAILURES.take(remote_addr, capacity=_MOST_FAILURES, per_second=_MOST_FAILURES / 60, now=now):
        extra = {"action": "auth.failed", "remote_addr": remote_addr, "reason": reason}
        logger.warning("a token was refused", extra=extra)
        return
    if not _LIMITS.take(remote_addr, capacity=1, per_second=1 / 60, now=now):
        nobody = Principal(name="anonymous", role="", auth_method="token", remote_addr=remote_addr)
        audit.record("address.limited", "address", remote_addr, reason=reason, principal=nobody)
    raise TooManyFailures("too many wrong tokens from this address; try again later", retry_after_seconds=60)


def role_of(user: Any) -> str:
    """Return the highest role among the user's groups; superusers are admins, others may have none."""
    return _highest(user.is_superuser, user.groups.filter(name__in=Role.values))


def require(principal: Principal, role: str) -> None:
    """Raise InsufficientAccess unless the caller holds ``role``."""
    if not principal.holds(role):
        raise InsufficientAccess(f"this needs the role {role}", required_role=str(role))


def require_right(principal: Principal, right: Right) -> None:
    """Raise Forbidden unless the caller holds ``right``."""
    if not principal.may(right):
        raise Forbidden(
            f"this needs the role admin, or the right {right}",
            code="right_missing",
            required_right=str(right),
        )


def lesser(role: str, other: str) -> str:
    """Return the role of the two that allows less."""
    return min(role, other, key=lambda name: RANK[name])


def roles_held_by(names: Collection[str]) -> dict[str, str]:
    """Return what the live tokens and active users of these names may do now; without those who are neither.

    Where an account and a token share a name, the lesser role counts, and a deactivated account ends both.
    Costs three queries, however many names there are.
    """
    held = {token.name: token.role for token in tokens.live_named(names)}
    users = get_user_model()
    for user in users.objects.filter(**{f"{users.USERNAME_FIELD}__in": names}).prefetch_related("groups"):
        name = user.get_username()
        if user.is_active:
            held[name] = lesser(_highest(user.is_superuser, user.groups.all()), held.get(name, Role.ADMIN))
        else:
            held.pop(name, None)
    return held


def rights_held_by(name: str) -> frozenset[str]:
    """Return the rights that the live token or active account of this name was given, both counted.

    Where an account and a token share a name, only what both hold counts.
    """
    held = [
        frozenset(Right.values if token.role == Role.ADMIN else token.rights)
        for token in tokens.live_named([name])
    ]
    users = get_user_model()
    held += [_rights_of(user) for user in users.objects.filter(**{users.USERNAME_FIELD: name})]
    return frozenset.intersection(*held) if held else frozenset()


def _rights_of(user: Any) -> frozenset[str]:
    """Return the ``Right`` permissions of an account, its own and its groups'."""
    if not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(Right.values)
    given = Q(user=user) | Q(group__user=user)
    named = Permission.objects.filter(
        given, content_type__app_label="sessions_app", codename__in=Right.values
    )
    return frozenset(named.values_list("codename", flat=True))


def highest(groups: set[str]) -> str:
    """Return the highest role among names of groups, "" without any."""
    return max(groups & set(Role.values), key=lambda name: RANK[name], default="")


def _highest(superuser: bool, groups: Iterable[Any]) -> str:
    return Role.ADMIN if superuser else highest({group.name for group in groups})

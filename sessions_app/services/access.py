"""Who calls, and what they may do: one answer for HTTP, sockets, the admin and commands."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.contrib.auth import get_user_model

from kheish_site.lib.errors import Forbidden, Unauthorized
from sessions_app.models import Role
from sessions_app.services import tokens

AuthMethod = Literal["token", "session", "system", "chat"]
_RANK: Final = {"": 0, Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller. ``role`` is a ``Role`` value, or "" for a known person without any group.

    ``name`` is a live token's name or a user name; records of who did what carry it.
    """

    name: str
    role: str
    auth_method: AuthMethod
    remote_addr: str = ""

    def holds(self, role: str) -> bool:
        """Tell whether the caller's role is ``role`` or includes it."""
        return _RANK[self.role] >= _RANK[role]

    @property
    def can_view(self) -> bool:
        """May read."""
        return self.holds(Role.VIEWER)

    @property
    def can_operate(self) -> bool:
        """May submit work and decide."""
        return self.holds(Role.OPERATOR)

    @property
    def can_administer(self) -> bool:
        """May change configuration and credentials."""
        return self.holds(Role.ADMIN)


SYSTEM: Final = Principal(name="system", role=Role.ADMIN, auth_method="system")
"""The daemon itself: start-up files, commands on the machine."""


def authenticate(authorization: str, user: Any, *, remote_addr: str = "") -> Principal:
    """Return the caller named by an ``Authorization`` header, or else by a logged-in ``user``.

    A header that is wrong is refused even when somebody is logged in. Costs one query (a token) or
    one beside the session's own (groups). Raises: Unauthorized.
    """
    if authorization:
        scheme, _, secret = authorization.partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise Unauthorized("the Authorization header must read: Bearer kh_...")
        token = tokens.find(secret.strip())
        return Principal(name=token.name, role=token.role, auth_method="token", remote_addr=remote_addr)
    if user is not None and user.is_authenticated:
        return Principal(
            name=user.get_username(), role=role_of(user), auth_method="session", remote_addr=remote_addr
        )
    raise Unauthorized("sign in, or send an API token as bearer")


def role_of(user: Any) -> str:
    """Return the highest role among the user's groups; superusers are admins, others may have none."""
    return _highest(user.is_superuser, user.groups.filter(name__in=Role.values))


def require(principal: Principal, role: str) -> None:
    """Raise Forbidden unless the caller holds ``role``."""
    if not principal.holds(role):
        raise Forbidden(f"this needs the role {role}", required_role=str(role))


def lesser(role: str, other: str) -> str:
    """Return the role of the two that allows less."""
    return min(role, other, key=lambda name: _RANK[name])


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


def _highest(superuser: bool, groups: Iterable[Any]) -> str:
    if superuser:
        return Role.ADMIN
    names = {group.name for group in groups} & set(Role.values)
    return max(names, key=lambda name: _RANK[name], default="")

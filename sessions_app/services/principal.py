"""Who calls, as every service is told: a name, a role, and how they proved who they are."""

from dataclasses import dataclass, field
from typing import Final, Literal

from sessions_app.models import Right, Role

AuthMethod = Literal["token", "session", "system", "chat"]
RANK: Final = {"": 0, Role.VIEWER: 1, Role.OPERATOR: 2, Role.ADMIN: 3}


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A caller. ``role`` is a ``Role`` value, or "" for a known person without any group.

    ``name`` is a live token's name or a user name; records of who did what carry it. ``rights`` are those
    given beside the role.
    """

    name: str
    role: str
    auth_method: AuthMethod
    remote_addr: str = ""
    rights: frozenset[str] = frozenset()
    login: str = field(default="", repr=False)
    """The key of the browser's session, where what they opened must end with it."""

    def may(self, right: Right) -> bool:
        """Tell whether the caller holds ``right``: an admin every one, an operator those that were given."""
        return self.can_administer or (self.can_operate and right in self.rights)

    def holds(self, role: str) -> bool:
        """Tell whether the caller's role is ``role`` or includes it."""
        return RANK[self.role] >= RANK[role]

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

"""Who may answer where: handles that a session and a caller may use."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from connectors_app.services import handles
from connectors_app.services.handles import Handle
from kheish_site.lib.errors import Forbidden
from sessions_app.services import scopes

_CREDENTIALS: Final[Mapping[str, str]] = {
    "slack": "bot_token", "telegram": "bot_token", "external": "shared_token",
}  # fmt: skip
"""The credential of the connector that each plugin sends with."""


class ReplyTargetForbidden(Forbidden):
    """The handle is well formed, and this session or this caller may not answer there."""

    code, domain = "reply_target_forbidden", "reply_targets"


def judged(
    given: Sequence[Any], *, credential_scope: Mapping[str, Any], may_reach_private: bool
) -> list[Handle]:
    """Return handles in normal form, each target once (``ports.ReplyTargetJudge``).

    ``credential_scope`` is the session's. Only a caller that ``may_reach_private``, an administrator, may
    point answers into private networks. Needs the database.
    Raises: InvalidReplyTarget, NotFound(connector_not_found), ReplyTargetForbidden.
    """
    found = handles.normal_list(given)
    for handle in found:
        _authorise(handle, credential_scope, may_reach_private)
        handles.check(handle)
    return found


def _authorise(handle: Handle, credential_scope: Mapping[str, Any], may_reach_private: bool) -> None:
    plugin, address = handle["plugin"], handle["address"]
    if address.get("allow_private_network") and not may_reach_private:
        raise ReplyTargetForbidden("allow_private_network needs the role admin", required_role="admin")
    connector = address.get("connector")
    if connector and not permits(credential_scope, connector, _CREDENTIALS.get(plugin, "")):
        raise ReplyTargetForbidden(f"the session's credential scope does not include {connector}")


def permits(credential_scope: Mapping[str, Any], connector: str, credential: str) -> bool:
    """Tell whether a session of this scope may use a connector and, if one is named, its credential.

    A scope that lists connectors and no credentials allows none of these.
    """
    effective = scopes.effective_credentials(credential_scope)
    if not scopes.permits(effective, "connector", connector):
        return False
    return not credential or scopes.permits(effective, "connector_credential", f"{connector}:{credential}")

"""Capability and credential scopes: what a persona or session may see, as allow and deny lists.

Source: reference, "Capability scope" and "Credential scope". Names are trimmed, each kept once,
sorted; ``*`` stands for all others. An absent allow list allows everything, deny always wins.
"""

from collections.abc import Mapping
from typing import Any, Final

from kheish_site.lib.errors import BadRequest

CAPABILITIES: Final = ("skill", "mcp_server", "mcp_tool")
CREDENTIALS: Final = ("route", "connector", "connector_credential", "mcp_server")
_LONGEST_LIST: Final = 500


def capability_scope(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the scope in its one normal form. Raises: BadRequest(invalid_scope)."""
    return _normal(value, CAPABILITIES)


def credential_scope(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the scope in its one normal form. Raises: BadRequest(invalid_scope)."""
    return _normal(value, CREDENTIALS)


def permits(scope: Mapping[str, Any], kind: str, name: str, *, default: bool = True) -> bool:
    """Tell whether a scope in normal form lets through what it calls ``kind``.

    ``default`` is the answer where it names neither what is allowed nor this one as denied.
    """
    denied, allowed = scope.get(f"{kind}_deny") or [], scope.get(f"{kind}_allow") or []
    if name in denied or "*" in denied:
        return False
    return name in allowed or "*" in allowed if allowed else default


def _normal(value: Mapping[str, Any], kinds: tuple[str, ...]) -> dict[str, list[str]]:
    allowed = {f"{kind}_{verb}" for kind in kinds for verb in ("allow", "deny")}
    unknown = sorted(set(value) - allowed)
    if unknown:
        raise BadRequest(f"a scope has no member {unknown[0]}", code="invalid_scope")
    return {name: names for name in sorted(value) if (names := _names(name, value[name]))}


def _names(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadRequest(f"{name} must be a list of names", code="invalid_scope")
    if len(value) > _LONGEST_LIST:
        raise BadRequest(f"{name} has more than {_LONGEST_LIST} names", code="invalid_scope")
    names = {item.strip() for item in value} - {""}
    return ["*"] if "*" in names else sorted(names)

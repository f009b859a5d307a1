"""Capability and credential scopes: what a persona or session may see, as allow and deny lists.

Names are trimmed, each kept once, sorted; ``*`` stands for all others. An absent allow list allows
everything, deny always wins. An effective scope says in the same form what comes of it, so that ``permits``
alone can judge by it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kheish_site.lib.errors import BadRequest

CAPABILITIES: Final = ("skill", "mcp_server", "mcp_tool")
CREDENTIALS: Final = ("route", "connector", "connector_credential", "mcp_server")
_LONGEST_LIST: Final = 500
_LONGEST_NAME: Final = 300
_UNNAMED: Final = ""
"""Stands for whatever no list names: names are never empty."""


def capability_scope(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the scope in its one normal form. Raises: BadRequest(invalid_scope)."""
    return _normal(value, CAPABILITIES)


def credential_scope(value: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the scope in its one normal form. Raises: BadRequest(invalid_scope)."""
    return _normal(value, CREDENTIALS)


def permits(scope: Mapping[str, Any], kind: str, name: str) -> bool:
    """Tell whether a scope in normal form lets through what it calls ``kind``."""
    denied, allowed = scope.get(f"{kind}_deny") or [], scope.get(f"{kind}_allow") or []
    if name in denied or "*" in denied:
        return False
    return name in allowed or "*" in allowed if allowed else True


def _both(name: str, own: Sequence[str] | None, other: Sequence[str] | None) -> list[str]:
    """Return what comes of two lists called ``name``: what both allow, and all that either denies."""
    mine, theirs = list(own or ()), list(other or ())
    if name.endswith("_deny"):
        return sorted({*mine, *theirs})
    if own is None or other is None:
        return mine or theirs
    if "*" in mine or "*" in theirs:
        return theirs if "*" in mine else mine
    return sorted({*mine} & {*theirs})


def effective_capabilities(own: Mapping[str, Any], persona: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what a session may see whose persona has a scope too, both in normal form.

    Allow lists that have nothing in common deny everything.
    """
    found: dict[str, list[str]] = {}
    for kind in CAPABILITIES:
        allow, deny = f"{kind}_allow", f"{kind}_deny"
        allowed = _both(allow, own.get(allow) or None, persona.get(allow) or None)
        denied = _both(deny, own.get(deny), persona.get(deny))
        nothing = not allowed and (own.get(allow) or persona.get(allow))
        found |= {allow: allowed, deny: ["*"] if nothing or "*" in denied else denied}
    return {name: names for name, names in sorted(found.items()) if names}


def effective_credentials(own: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return what a session may use: connectors that are listed without their credentials have none."""
    listed = own.get("connector_allow") and not own.get("connector_credential_allow")
    nothing = listed or "*" in own.get("connector_deny", ())
    return dict(sorted({**own, **({"connector_credential_deny": ["*"]} if nothing else {})}.items()))


def widens(to: Mapping[str, Any], was: Mapping[str, Any]) -> bool:
    """Tell whether the effective scope ``to`` lets anything through that ``was`` does not."""
    return any(_widens(to, was, kind) for kind in {*CAPABILITIES, *CREDENTIALS})


def _widens(to: Mapping[str, Any], was: Mapping[str, Any], kind: str) -> bool:
    lists = (scope.get(f"{kind}_{verb}") or () for scope in (to, was) for verb in ("allow", "deny"))
    names = {_UNNAMED, *(name for names in lists for name in names)}
    return any(permits(to, kind, name) and not permits(was, kind, name) for name in names)


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
    if not all(item.isprintable() and len(item) <= _LONGEST_NAME for item in map(str.strip, value)):
        raise BadRequest(
            f"{name} has a name that is longer than {_LONGEST_NAME} characters or cannot be shown",
            code="invalid_scope",
        )
    names = {item.strip() for item in value} - {""}
    return ["*"] if "*" in names else sorted(names)

"""Grants: "allow this tool for this session", given by an admin, taken back by any operator.

A grant is a permission rule of the session that says by whom it was given. It lets calls planned from then on
run without a person, so it cannot be given for what risks much, where a rule wants several people or another
one than who asked, nor against a rule that denies.
"""

from collections.abc import Mapping
from typing import Any, Final

from kheish_site.lib.errors import Conflict, Forbidden, NotFound
from kheish_site.lib.redaction import redact
from sessions_app.models import Approval, Role, Session
from sessions_app.services import access, permissions, sessions
from sessions_app.services.principal import Principal
from sessions_app.tools import policy
from sessions_app.tools.policy import Decision

_MARK: Final = "granted_by"


class GrantMissing(NotFound):
    """The session has no such grant."""

    code, domain = "grant_not_found", "sessions"


class GrantTooRisky(Forbidden):
    """A call of this tool risks too much to run without a person."""

    code, domain = "grant_too_risky", "sessions"


class GrantNeedsOthers(Forbidden):
    """The rule wants the word of several people, or of somebody else, on each call: one may not end that."""

    code, domain = "grant_needs_others", "sessions"


class GrantDenied(Conflict):
    """A rule denies the tool: change the rule instead."""

    code, domain = "grant_denied_by_rule", "sessions"


def of(session: Session) -> list[dict[str, Any]]:
    """Return the session's grants, newest first."""
    return [
        {"tool_name": rule["tool_name_pattern"], "granted_by": rule[_MARK], "reason": redact(rule["reason"])}
        for rule in session.permission_rules
        if _MARK in rule
    ]


def needs_others(asked: Decision | Approval) -> bool:
    """Tell whether one admin may not decide such a call alone, and so not end the asking either."""
    return asked.required_votes > 1 or not asked.requester_may_vote or Role.ADMIN not in asked.roles


def give(session_id: str, tool_name: str, *, principal: Principal, reason: str = "") -> Session:
    """Let calls of ``tool_name`` in this session run unasked; giving it again changes nothing.

    Raises: Forbidden, SessionMissing, GrantTooRisky, GrantNeedsOthers, GrantDenied.
    """
    access.require(principal, Role.ADMIN)
    session = sessions.get(session_id)
    found = policy.decide(tool_name=tool_name, mode="default", rules=permissions.rules_for(session))
    if found.risk == "high":
        raise GrantTooRisky(f"a call of {tool_name} is of high risk: each one needs a person")
    if needs_others(found):
        raise GrantNeedsOthers(f"the rule of {tool_name} wants other people's word on each call")
    if found.decision == "deny":
        raise GrantDenied(f"a rule of the {found.matched_rule_scope} denies {tool_name}")
    if any(_is_grant(rule, tool_name) for rule in session.permission_rules):
        return session
    rule = {
        "tool_name_pattern": tool_name,
        "behavior": "allow",
        "reason": reason[:500] or "allowed for this session",
        _MARK: principal.name,
    }

    def apply(row: Session) -> dict[str, Any]:
        row.permission_rules = [rule, *row.permission_rules]  # before others that name the tool
        return {"_fields": ["permission_rules"], "tool_name": tool_name, "reason": reason}

    return sessions.change(session_id, apply, principal=principal.name, kind="session.tool_granted")


def revoke(session_id: str, tool_name: str, *, principal: Principal, reason: str = "") -> Session:
    """Take a grant back: from the next calls on, people are asked again.

    Raises: Forbidden, SessionMissing, GrantMissing.
    """
    access.require(principal, Role.OPERATOR)

    def apply(row: Session) -> dict[str, Any]:
        kept = [rule for rule in row.permission_rules if not _is_grant(rule, tool_name)]
        if len(kept) == len(row.permission_rules):
            raise GrantMissing(f"session {session_id} has no grant for {tool_name}")
        row.permission_rules = kept
        return {"_fields": ["permission_rules"], "tool_name": tool_name, "reason": reason}

    return sessions.change(session_id, apply, principal=principal.name, kind="session.grant_revoked")


def _is_grant(rule: Mapping[str, Any], tool_name: str) -> bool:
    return _MARK in rule and rule["tool_name_pattern"] == tool_name

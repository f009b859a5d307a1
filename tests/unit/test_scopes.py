"""Scopes: what comes of two, and which of two lets more through."""

from typing import Any

import pytest

from sessions_app.services import scopes

Scope = dict[str, Any]


@pytest.mark.parametrize(
    ("own", "persona", "effective"),
    [
        ({}, {}, {}),
        ({"skill_allow": ["a", "b"]}, {}, {"skill_allow": ["a", "b"]}),
        ({"skill_allow": ["a", "b"]}, {"skill_allow": ["b", "c"]}, {"skill_allow": ["b"]}),
        ({"skill_allow": ["*"]}, {"skill_allow": ["b"]}, {"skill_allow": ["b"]}),
        ({"skill_allow": []}, {"skill_allow": ["b"]}, {"skill_allow": ["b"]}),
        ({"skill_allow": ["a"]}, {"skill_allow": ["b"]}, {"skill_deny": ["*"]}),
        ({"skill_deny": ["a"]}, {"skill_deny": ["b"]}, {"skill_deny": ["a", "b"]}),
        ({"skill_deny": ["a"]}, {"skill_deny": ["*"]}, {"skill_deny": ["*"]}),
        (
            {"mcp_tool_allow": ["t"]},
            {"mcp_tool_deny": ["t"]},
            {"mcp_tool_allow": ["t"], "mcp_tool_deny": ["t"]},
        ),
    ],
)
def test_a_session_sees_what_it_and_its_persona_allow(own: Scope, persona: Scope, effective: Scope) -> None:
    assert scopes.effective_capabilities(own, persona) == effective


@pytest.mark.parametrize(
    ("own", "effective"),
    [
        ({}, {}),
        ({"route_allow": ["main"]}, {"route_allow": ["main"]}),
        ({"connector_allow": ["a"]}, {"connector_allow": ["a"], "connector_credential_deny": ["*"]}),
        (
            {"connector_allow": ["a"], "connector_credential_allow": ["a:bot_token"]},
            {"connector_allow": ["a"], "connector_credential_allow": ["a:bot_token"]},
        ),
        ({"connector_deny": ["*"]}, {"connector_credential_deny": ["*"], "connector_deny": ["*"]}),
        ({"connector_deny": ["a"]}, {"connector_deny": ["a"]}),
    ],
)
def test_credentials_of_listed_connectors_are_listed_too(own: Scope, effective: Scope) -> None:
    assert scopes.effective_credentials(own) == effective


NARROWINGS: list[tuple[Scope, Scope]] = [
    ({}, {"skill_allow": ["a"]}),
    ({}, {"skill_deny": ["a"]}),
    ({"skill_allow": ["*"]}, {"skill_allow": ["a"]}),
    ({"skill_allow": ["a", "b"]}, {"skill_allow": ["a"]}),
    ({"skill_allow": ["a", "b"]}, {"skill_allow": ["a", "b"], "skill_deny": ["b"]}),
    ({"skill_allow": ["a"], "skill_deny": ["b"]}, {"skill_allow": ["a"]}),  # b was not allowed anyway
    ({"skill_deny": ["a"]}, {"skill_allow": ["b"]}),
    ({"connector_allow": ["a"]}, {"connector_deny": ["*"]}),
    ({}, {"connector_allow": ["a"], "connector_credential_allow": ["a:bot_token"]}),
]
WIDENINGS: list[tuple[Scope, Scope]] = [
    *((to, was) for was, to in NARROWINGS if (was, to) != NARROWINGS[5]),
    ({"skill_allow": ["a"]}, {"skill_allow": ["b"]}),
    ({"skill_allow": ["a"]}, {"skill_deny": ["b"]}),
    ({"skill_deny": ["a", "b"]}, {"skill_deny": ["a"]}),
    ({"mcp_server_deny": ["*"]}, {"mcp_server_allow": ["a"], "mcp_server_deny": ["b"]}),
    ({"connector_allow": ["a"]}, {"connector_allow": ["a"], "connector_credential_allow": ["a:bot_token"]}),
]


@pytest.mark.parametrize(("was", "to"), NARROWINGS)
def test_what_lets_through_nothing_new_is_no_wider(was: Scope, to: Scope) -> None:
    assert not scopes.widens(scopes.effective_credentials(to), scopes.effective_credentials(was))


@pytest.mark.parametrize(("was", "to"), WIDENINGS)
def test_what_lets_one_new_name_through_is_wider(was: Scope, to: Scope) -> None:
    assert scopes.widens(scopes.effective_credentials(to), scopes.effective_credentials(was))

"""The permission decision: the table of modes, the order of rules, and what always holds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kheish_site.lib.errors import BadRequest
from sessions_app.tools.policy import (
    DEFAULT_RULES,
    MODES,
    Behavior,
    Rule,
    Scope,
    decide,
    matrix,
    parse_rules,
)


def rule(pattern: str, behavior: Behavior, scope: Scope = "session", **fields) -> Rule:
    return Rule(scope=scope, tool_name_pattern=pattern, behavior=behavior, **fields)


TABLE = {
    # tool: default, acceptEdits, bypassPermissions, plan, dontAsk
    "bash": "ask ask allow deny deny",
    "mcp__files__read": "ask ask allow deny deny",
    "write_file": "ask allow allow deny deny",
    "edit_file": "ask allow allow deny deny",
    "apply_patch": "ask allow allow deny deny",
    "list_mcp_resources": "ask ask allow ask deny",
    "read_mcp_resource": "ask ask allow ask deny",
    "exit_plan_mode": "ask ask allow ask deny",
    "read_file": "allow allow allow allow allow",
    "grep_search": "allow allow allow allow allow",
    "schedule_list": "allow allow allow allow allow",
    "ask_user_question": "allow allow allow allow allow",
    "task_output": "allow allow allow allow allow",
    "emit_output": "allow allow allow deny allow",
    "todo_write": "allow allow allow deny allow",
    "task_stop": "allow allow allow deny allow",
}


@pytest.mark.parametrize("tool_name", TABLE)
def test_default_rules_under_every_mode(tool_name):
    decisions = [decide(tool_name=tool_name, mode=mode).decision for mode in MODES]
    assert " ".join(decisions) == TABLE[tool_name]


@pytest.mark.parametrize("mode", MODES)
def test_no_mode_lifts_a_deny_rule(mode):
    decision = decide(tool_name="write_file", mode=mode, rules=[rule("write_file", "deny", reason="frozen")])
    assert (decision.decision, decision.base_decision, decision.mode_effect) == ("deny", "deny", "")
    assert decision.reason == "frozen"


@pytest.mark.parametrize(
    ("tool_name", "mode", "effect"),
    [
        ("write_file", "acceptEdits", "accept_edits_auto_allowed_edit_approval"),
        ("bash", "bypassPermissions", "bypass_permissions_auto_allowed_approval"),
        ("read_file", "plan", "plan_mode_allowed_read_only_or_coordination_tool"),
        ("bash", "plan", "plan_mode_denied_non_whitelisted_tool"),
        ("bash", "dontAsk", "dont_ask_denied_approval"),
        ("bash", "default", ""),
        ("bash", "acceptEdits", ""),
    ],
)
def test_mode_effects_are_named(tool_name, mode, effect):
    assert decide(tool_name=tool_name, mode=mode).mode_effect == effect


def test_session_beats_project_beats_user_beats_defaults():
    rules = [rule("bash", "allow", "user"), rule("bash", "deny", "project"), rule("*", "ask", "session")]
    assert decide(tool_name="bash", mode="default", rules=rules).matched_rule_scope == "session"
    assert decide(tool_name="bash", mode="default", rules=rules[:2]).decision == "deny"
    assert decide(tool_name="bash", mode="default", rules=rules[:1]).decision == "allow"
    assert decide(tool_name="bash", mode="default").matched_rule_scope == "default"


def test_exact_beats_longer_prefix_beats_shorter_beats_star():
    rules = [
        rule("*", "deny"),
        rule("mcp__*", "ask"),
        rule("mcp__files__*", "allow"),
        rule("mcp__files__rm", "deny"),
    ]

    def pattern(name: str) -> str:
        return decide(tool_name=name, mode="default", rules=rules).matched_rule_pattern

    assert pattern("mcp__files__rm") == "mcp__files__rm"
    assert pattern("mcp__files__ls") == "mcp__files__*"
    assert pattern("mcp__mail__send") == "mcp__*"
    assert pattern("bash") == "*"


def test_the_earlier_of_equal_rules_wins():
    rules = [rule("bash", "allow", origin="hook_update"), rule("bash", "deny")]
    decision = decide(tool_name="bash", mode="default", rules=rules)
    assert (decision.decision, decision.matched_rule_origin) == ("allow", "hook_update")


def test_passing_the_defaults_along_changes_nothing():
    for name in TABLE:
        assert decide(tool_name=name, mode="default", rules=DEFAULT_RULES) == decide(
            tool_name=name, mode="default"
        )


def test_rule_policy_reaches_the_decision():
    strict = rule("bash", "ask", required_votes=2, roles=("admin",), requester_may_vote=False)
    decision = decide(tool_name="bash", mode="default", rules=[strict])
    assert (decision.required_votes, decision.roles, decision.requester_may_vote) == (2, ("admin",), False)


def test_matrix_has_every_tool_in_every_mode():
    table = matrix(tool_names=["bash", "read_file"])
    assert {name: set(row) for name, row in table.items()} == {"bash": set(MODES), "read_file": set(MODES)}
    assert table["bash"]["plan"].as_dict()["decision"] == "deny"


def test_rules_of_clients_are_read():
    (parsed,) = parse_rules("session", [{"tool_name_pattern": "mcp__*", "behavior": "deny", "reason": "no"}])
    assert parsed == rule("mcp__*", "deny", reason="no")


@pytest.mark.parametrize(
    "value",
    [
        "bash",
        [{"behavior": "deny"}],
        [{"tool_name_pattern": "a*b", "behavior": "deny"}],
        [{"tool_name_pattern": "", "behavior": "deny"}],
        [{"tool_name_pattern": "bash", "behavior": "maybe"}],
        [{"tool_name_pattern": "bash", "behavior": "ask", "required_votes": 0}],
        [{"tool_name_pattern": "bash", "behavior": "ask", "roles": []}],
        [{"tool_name_pattern": "bash", "behavior": "ask", "scope": "user"}],
    ],
)
def test_bad_rules_of_clients_are_refused(value):
    with pytest.raises(BadRequest) as caught:
        parse_rules("session", value)
    assert caught.value.error_code == "invalid_permission_rule"


NAMES = st.sampled_from([*TABLE, "unknown_tool", "mcp__a__b", ""])
RULES = st.lists(
    st.builds(
        Rule,
        scope=st.sampled_from(["session", "project", "user"]),
        tool_name_pattern=st.sampled_from(["*", "b*", "bash", "mcp__*", "mcp__a__*", "read_file", "write_*"]),
        behavior=st.sampled_from(["allow", "deny", "ask"]),
    ),
    max_size=8,
)


@given(name=NAMES, rules=RULES, mode=st.sampled_from(MODES))
def test_what_always_holds(name, rules, mode):
    decision = decide(tool_name=name, mode=mode, rules=rules)
    if decision.base_decision == "deny":
        assert decision.decision == "deny"
    if decision.base_decision == "allow":
        assert decision.decision in ("allow", "deny")
    if mode == "default":
        assert decision.decision == decision.base_decision
    if mode in ("bypassPermissions", "dontAsk"):
        assert decision.decision != "ask"
    if mode == "acceptEdits" and decision.decision != decision.base_decision:
        assert name in ("write_file", "edit_file", "apply_patch")
    assert bool(decision.mode_effect) or decision.decision == decision.base_decision


@given(name=NAMES, rules=RULES, mode=st.sampled_from(MODES))
def test_the_order_of_scopes_does_not_depend_on_the_order_of_the_list(name, rules, mode):
    by_scope = sorted(rules, key=lambda rule: rule.scope)
    assert decide(tool_name=name, mode=mode, rules=rules) == decide(tool_name=name, mode=mode, rules=by_scope)

"""May this call run? One pure function from rules and mode to a decision that explains itself.

Rules are looked up scope by scope (session, project, user, then the defaults); the first scope with
a matching rule decides, and in it an exact name beats a longer prefix beats a shorter one beats
``*``; among equals the earlier rule wins. The permission mode is applied to what the rule said.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from kheish_site.lib.errors import BadRequest
from sessions_app.tools.schemas import problems

Behavior = Literal["allow", "deny", "ask"]
Mode = Literal["default", "acceptEdits", "bypassPermissions", "plan", "dontAsk"]
Scope = Literal["session", "project", "user", "default"]
Origin = Literal["static", "hook_update"]
Risk = Literal["low", "medium", "high"]

MODES: Final[tuple[Mode, ...]] = get_args(Mode)
RISKS: Final[tuple[Risk, ...]] = get_args(Risk)
"""From least to most; who may say yes to a call depends on it."""
SCOPE_ORDER: Final[tuple[Scope, ...]] = get_args(Scope)
EDIT_TOOLS: Final = frozenset({"write_file", "edit_file", "apply_patch"})
MCP_HELPERS: Final = ("list_mcp_resources", "list_mcp_resource_templates", "read_mcp_resource")
PLAN_TOOLS: Final = frozenset(
    {
        "read_file", "list_files", "glob_search", "grep_search", "web_fetch", "web_search", *MCP_HELPERS,
        "list_skills", "read_channel_thread", "ask_operator", "ask_user_question",
        "request_parent_clarification", "spawn_agent", "message_agent", "wait_agent", "get_agent",
        "list_agents", "list_agent_summaries", "enter_plan_mode", "exit_plan_mode", "task_get",
        "task_list", "task_output", "schedule_get", "schedule_list", "get_goal", "project_list_tasks",
    }
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ApprovalPolicy:
    """Who must approve a call that asks. ``roles`` are the groups whose votes count, ``risk`` says what a
    yes may cost ("": as the tool's default): one to a high risk needs a right of its own.
    """

    required_votes: int = 1
    roles: tuple[str, ...] = ("operator", "admin")
    requester_may_vote: bool = True
    expires_after_seconds: int | None = None
    risk: Risk | Literal[""] = ""


@dataclass(frozen=True, kw_only=True)
class Rule(ApprovalPolicy):
    """What to do with the tools whose name matches: exactly, ``prefix*``, or ``*``."""

    scope: Scope
    tool_name_pattern: str
    behavior: Behavior
    reason: str = ""
    origin: Origin = "static"

    def matches(self, tool_name: str) -> bool:
        """Say whether the rule is about this tool."""
        if self.tool_name_pattern.endswith("*"):
            return tool_name.startswith(self.tool_name_pattern[:-1])
        return tool_name == self.tool_name_pattern

    @property
    def precision(self) -> int:
        """How closely the pattern names a tool: exact above any prefix, ``*`` lowest."""
        prefix = self.tool_name_pattern.removesuffix("*")
        return len(prefix) if prefix != self.tool_name_pattern else 1_000_000


@dataclass(frozen=True, kw_only=True)
class Decision(ApprovalPolicy):
    """What may happen with a call, and why. The approval fields matter when ``decision`` is ask."""

    decision: Behavior
    base_decision: Behavior
    effective_mode: Mode
    mode_effect: str = ""
    matched_rule_pattern: str = ""
    matched_rule_origin: str = ""
    matched_rule_scope: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the decision as JSON."""
        return asdict(self) | {"roles": list(self.roles)}


_HARMLESS: Final = ("read_file", "list_files", "glob_search", "grep_search", "task_output", "todo_write")
DEFAULT_RISKS: Final[Mapping[str, Risk]] = {
    "bash": "high",
    **dict.fromkeys((*_HARMLESS, *sorted(EDIT_TOOLS), *MCP_HELPERS, "exit_plan_mode"), "low"),
}
"""What a call of these tools risks where no rule says; of all others: medium."""


def default_risk(tool_name: str) -> Risk:
    """Return what a yes to a call of this tool may cost where no rule says."""
    return DEFAULT_RISKS.get(tool_name, "medium")


def _default(pattern: str, behavior: Behavior, reason: str = "") -> Rule:
    return Rule(scope="default", tool_name_pattern=pattern, behavior=behavior, reason=reason)


DEFAULT_RULES: Final[tuple[Rule, ...]] = (
    _default("bash", "ask", "runs a shell command"),
    *(_default(name, "ask", "changes files in the workspace") for name in sorted(EDIT_TOOLS)),
    _default("mcp__*", "ask", "calls a tool of an outside server"),
    *(_default(name, "ask", "reads from an outside server") for name in MCP_HELPERS),
    _default("exit_plan_mode", "ask", "leaves plan mode"),
    _default("*", "allow"),
)


def decide(*, tool_name: str, mode: Mode, rules: Sequence[Rule] = ()) -> Decision:
    """Return what may happen with a call of ``tool_name``.

    ``rules`` are those of session, project and user in any order; ``DEFAULT_RULES`` come last by
    themselves.
    """
    rule = match(tool_name, rules)
    behavior, effect = _apply_mode(tool_name, mode, rule.behavior)
    return Decision(
        decision=behavior,
        base_decision=rule.behavior,
        effective_mode=mode,
        mode_effect=effect,
        matched_rule_pattern=rule.tool_name_pattern,
        matched_rule_origin=rule.origin,
        matched_rule_scope=rule.scope,
        reason=rule.reason,
        required_votes=rule.required_votes,
        roles=rule.roles,
        requester_may_vote=rule.requester_may_vote,
        expires_after_seconds=rule.expires_after_seconds,
        risk=rule.risk or default_risk(tool_name),
    )


def match(tool_name: str, rules: Sequence[Rule]) -> Rule:
    """Return the rule that speaks for ``tool_name``; the last default matches every name."""
    for scope in SCOPE_ORDER:
        matching = [r for r in (*rules, *DEFAULT_RULES) if r.scope == scope and r.matches(tool_name)]
        if matching:
            return max(matching, key=lambda rule: rule.precision)  # max keeps the earlier of equals
    raise AssertionError("the last default rule matches every name")


def _apply_mode(tool_name: str, mode: Mode, base: Behavior) -> tuple[Behavior, str]:
    """Return the behavior under ``mode`` and the name of what the mode did. No mode lifts a deny rule."""
    if base == "deny":
        return "deny", ""
    if mode == "plan":
        if tool_name in PLAN_TOOLS:
            return base, "plan_mode_allowed_read_only_or_coordination_tool"
        return "deny", "plan_mode_denied_non_whitelisted_tool"
    if base == "allow":
        return "allow", ""
    if mode == "acceptEdits" and tool_name in EDIT_TOOLS:
        return "allow", "accept_edits_auto_allowed_edit_approval"
    if mode == "bypassPermissions":
        return "allow", "bypass_permissions_auto_allowed_approval"
    if mode == "dontAsk":
        return "deny", "dont_ask_denied_approval"
    return "ask", ""


def matrix(*, tool_names: Iterable[str], rules: Sequence[Rule] = ()) -> dict[str, dict[Mode, Decision]]:
    """Return the decision of every tool in every mode: ``{tool: {mode: decision}}``."""
    return {
        name: {mode: decide(tool_name=name, mode=mode, rules=rules) for mode in MODES}
        for name in sorted(set(tool_names))
    }


RULE_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "tool_name_pattern": {"type": "string", "pattern": r"^(\*|[A-Za-z0-9_.:-]{1,128}\*?)$"},
        "behavior": {"enum": list(get_args(Behavior))},
        "reason": {"type": "string", "maxLength": 500},
        "required_votes": {"type": "integer", "minimum": 1, "maximum": 20},
        "roles": {
            "type": "array",
            "items": {"enum": ["operator", "admin"]},
            "minItems": 1,
            "uniqueItems": True,
        },
        "requester_may_vote": {"type": "boolean"},
        "risk": {"enum": list(RISKS)},
        "granted_by": {"type": "string", "maxLength": 200},
        "expires_after_seconds": {"type": ["integer", "null"], "minimum": 1, "maximum": 31_536_000},
    },
    "required": ["tool_name_pattern", "behavior"],
    "additionalProperties": False,
}
"""JSON schema of a rule as clients write it; its scope is the place where it is written."""


_RULES_SCHEMA: Final = {"type": "array", "items": RULE_SCHEMA, "maxItems": 200}


def parse_rules(scope: Scope, values: Any) -> tuple[Rule, ...]:
    """Return the rules that a client wrote for ``scope``. Raises BadRequest(invalid_permission_rule)."""
    found = problems(_RULES_SCHEMA, values)
    if found:
        raise BadRequest("; ".join(found), code="invalid_permission_rule", domain="sessions")
    return tuple(_rule(scope, value) for value in values)


def _rule(scope: Scope, value: dict[str, Any]) -> Rule:
    return Rule(
        scope=scope,
        tool_name_pattern=value["tool_name_pattern"],
        behavior=value["behavior"],
        reason=value.get("reason", ""),
        required_votes=value.get("required_votes", 1),
        roles=tuple(value.get("roles", ApprovalPolicy.roles)),
        requester_may_vote=value.get("requester_may_vote", True),
        expires_after_seconds=value.get("expires_after_seconds"),
        risk=value.get("risk", ""),
    )

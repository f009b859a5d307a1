"""The rows. Read them in this order: session, run, journal, tool_call, waiting, checkpoint,
external_action."""

from sessions_app.models.access import ApiToken, IdempotencyRecord, Right, Role
from sessions_app.models.asset import Asset, AssetBlob, AssetReference
from sessions_app.models.audit import AuditEntry
from sessions_app.models.checkpoint import Checkpoint
from sessions_app.models.external_action import ActionChain, ActionKind, ActionPhase, ExternalAction
from sessions_app.models.journal import JournalEntry
from sessions_app.models.login import LoginThrottle, SecondFactor
from sessions_app.models.persona import Persona, PersonaRevision
from sessions_app.models.route import Route, SecretSlot
from sessions_app.models.run import ACTIVE, LIVE, TERMINAL, WAITING, Run, RunStatus, Step, StepStatus
from sessions_app.models.runtime import RuntimeRevision, TickLease, Worker
from sessions_app.models.session import Session, UnknownEffects
from sessions_app.models.shell_task import ShellTask, TaskOutput, TaskStatus
from sessions_app.models.tool_call import SETTLED, StoredResult, ToolCall, ToolCallState
from sessions_app.models.waiting import (
    Approval,
    ApprovalStatus,
    ApprovalVote,
    DecisionOutcome,
    DecisionStatus,
    OperatorDecision,
    QuestionStatus,
    Risk,
    UserQuestion,
)

__all__ = [
    "ACTIVE",
    "LIVE",
    "SETTLED",
    "TERMINAL",
    "WAITING",
    "ActionChain",
    "ActionKind",
    "ActionPhase",
    "ApiToken",
    "Approval",
    "ApprovalStatus",
    "ApprovalVote",
    "Asset",
    "AssetBlob",
    "AssetReference",
    "AuditEntry",
    "Checkpoint",
    "DecisionOutcome",
    "DecisionStatus",
    "ExternalAction",
    "IdempotencyRecord",
    "JournalEntry",
    "LoginThrottle",
    "OperatorDecision",
    "Persona",
    "PersonaRevision",
    "QuestionStatus",
    "Right",
    "Risk",
    "Role",
    "Route",
    "Run",
    "RunStatus",
    "RuntimeRevision",
    "SecondFactor",
    "SecretSlot",
    "Session",
    "ShellTask",
    "Step",
    "StepStatus",
    "StoredResult",
    "TaskOutput",
    "TaskStatus",
    "TickLease",
    "ToolCall",
    "ToolCallState",
    "UnknownEffects",
    "UserQuestion",
    "Worker",
]

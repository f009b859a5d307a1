"""The rows. Read them in this order: session, run, journal, tool_call, waiting, checkpoint."""

from sessions_app.models.access import ApiToken, IdempotencyRecord, Role
from sessions_app.models.asset import Asset, AssetBlob, AssetReference
from sessions_app.models.checkpoint import Checkpoint
from sessions_app.models.journal import JournalEntry
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
    UserQuestion,
)

__all__ = [
    "ACTIVE",
    "LIVE",
    "SETTLED",
    "TERMINAL",
    "WAITING",
    "ApiToken",
    "Approval",
    "ApprovalStatus",
    "ApprovalVote",
    "Asset",
    "AssetBlob",
    "AssetReference",
    "Checkpoint",
    "DecisionOutcome",
    "DecisionStatus",
    "IdempotencyRecord",
    "JournalEntry",
    "OperatorDecision",
    "Persona",
    "PersonaRevision",
    "QuestionStatus",
    "Role",
    "Route",
    "Run",
    "RunStatus",
    "RuntimeRevision",
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

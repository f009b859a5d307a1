"""What a tool is: its declaration, what it is given, what it gives back, and the ports it may call."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

EffectClass = Literal["read", "idempotent", "probeable", "opaque"]
Sandbox = Literal["inherited", "read_only", "workspace_write", "network_enabled"]
TaskState = Literal["in_progress", "completed", "failed", "cancelled"]
Arguments = dict[str, Any]
Prepared = dict[str, Any]

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, kw_only=True)
class ToolSpec:
    """The declaration of a tool: what the model sees, and how the engine must treat a call.

    ``schema`` is the JSON schema of the arguments. ``effect`` decides what happens after a crash
    between start and result. ``suspends`` names what a call waits for instead of being run.
    """

    name: str
    description: str
    schema: dict[str, Any]
    effect: EffectClass
    sandbox: Sandbox = "inherited"
    timeout_seconds: float = 30.0
    output_limit_bytes: int = 256 * KIB
    allows_parallel: bool = False
    suspends: Literal["", "question"] = ""


@dataclass(frozen=True, kw_only=True)
class ToolResult:
    """What a call came to. ``content`` is for the model, ``data`` (JSON-safe) is for people."""

    content: str
    is_error: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    error_code: str = ""


class ToolFailure(Exception):
    """An expected failure: the call is settled as an error result with this code and message."""

    def __init__(self, code: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def as_result(self) -> ToolResult:
        """Return the error result that the model gets."""
        return ToolResult(content=self.message, is_error=True, data=self.data, error_code=self.code)


class ProbeInconclusive(Exception):
    """The target tells neither that the effect happened nor that it did not: a person has to."""


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """A shell task as its row says. ``metadata`` is JSON-safe."""

    task_id: str
    status: TaskState
    command: str
    exit_code: int | None = None
    terminal_reason: str = ""
    description: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OutputView:
    """Output of a shell task. ``total_bytes`` counts what was written, ``size_bytes`` what is kept."""

    retrieval_status: Literal["success", "not_ready", "timeout"]
    text: str
    truncated: bool
    size_bytes: int
    total_bytes: int
    rotated: bool


class ShellTasks(Protocol):
    """Port: the daemon's shell tasks, limited to one session. Unknown ids raise ``NotFound``."""

    def start(
        self,
        *,
        command: str,
        workdir: Path,
        env: Mapping[str, str],
        description: str,
        background: bool,
    ) -> str:
        """Start ``command`` and return the task's id. Raises ToolFailure when it cannot be started."""
        ...

    def wait(self, task_id: str, timeout_seconds: float) -> TaskView:
        """Return the task when it settled or the time is over, whichever is first."""
        ...

    def get(self, task_id: str) -> TaskView:
        """Return the task as it is now."""
        ...

    def output(self, task_id: str, *, tail_bytes: int, full: bool) -> OutputView:
        """Return the newest ``tail_bytes`` of what is kept of the output, or all of it."""
        ...

    def stop(self, task_id: str, reason: str) -> TaskView:
        """Ask the task to end. A task that has ended is returned unchanged."""
        ...


@dataclass(frozen=True, kw_only=True)
class WorkspaceFile:
    """A file of the workspace as it goes out with an output."""

    name: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class GivenFile:
    """A stored file, an input or an output of the session, as it goes out again with an output."""

    asset_id: str


OutputFile = WorkspaceFile | GivenFile


class OutputSink(Protocol):
    """Port: the outputs of a run. A repeat under the same idempotency key adds nothing.

    No file may be larger than ``max_file_bytes``.
    """

    max_file_bytes: int

    def emit(
        self, content: str, parts: list[dict[str, Any]], files: Sequence[OutputFile] = ()
    ) -> list[dict[str, Any]]:
        """Record one output and return what is known of its files: file_name, media_type, size_bytes.

        Raises ToolFailure for a file that cannot be stored or that the session was not given.
        """
        ...


class TodoStore(Protocol):
    """Port: the todo list of a session."""

    def write(self, todos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Replace the list and return it as stored."""
        ...


@dataclass(frozen=True, kw_only=True)
class ToolContext:
    """What a call is given. ``cancelled`` is set when the run must stop; long waits watch it."""

    session_id: str
    run_id: str
    call_id: str
    idempotency_key: str
    workspace: Path
    cancelled: threading.Event
    tasks: ShellTasks
    outputs: OutputSink
    todos: TodoStore
    env_allowlist: tuple[str, ...] = ()
    allow_private_addresses: bool = False


class Tool(Protocol):
    """A tool. ``arguments`` have passed ``registry.validate``. No transaction is open during a call."""

    spec: ToolSpec

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Do it. Expected failures raise ToolFailure or return an error result."""
        ...


@runtime_checkable
class Probeable(Protocol):
    """What a tool of effect ``probeable`` adds."""

    def prepare(self, arguments: Arguments, context: ToolContext) -> Prepared:
        """Read what a later probe needs, without any effect; JSON-safe.

        The engine calls it before it commits ``started`` and stores the answer in the ledger row.
        ToolFailure here settles the call as failed: nothing has happened.
        """
        ...

    def probe(self, arguments: Arguments, prepared: Prepared, context: ToolContext) -> ToolResult | None:
        """Say after a crash what came of the call: its result, or None when it did not happen.

        Raises ProbeInconclusive when the target shows neither.
        """
        ...


@runtime_checkable
class Particular(Protocol):
    """What a tool adds whose arguments have rules that a schema cannot say."""

    def problems(self, arguments: Arguments) -> list[str]:
        """Return what is wrong with arguments that fit the schema, a line each."""
        ...


def object_schema(required: tuple[str, ...] = (), **properties: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of an object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def clip(text: str, limit_bytes: int) -> tuple[str, bool]:
    """Return the beginning of ``text`` that fits in ``limit_bytes`` of UTF-8, and whether some is missing."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit_bytes:
        return text, False
    return encoded[:limit_bytes].decode("utf-8", "ignore"), True

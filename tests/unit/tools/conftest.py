"""A workspace, a context, and ports that keep their rows in memory; commands are real processes."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from kheish_site.lib.errors import NotFound
from sessions_app.tools import registry
from sessions_app.tools.base import (
    GivenFile,
    OutputFile,
    OutputView,
    TaskView,
    ToolContext,
    ToolFailure,
    ToolResult,
)
from sessions_app.tools.shell_process import ExitReport, ShellProcess, StartFailed

# A busy machine is slow, not wrong.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


class MemoryTasks:
    """Shell tasks without rows."""

    def __init__(self) -> None:
        self.processes: dict[str, ShellProcess] = {}
        self.texts: dict[str, list[str]] = {}
        self.reasons: dict[str, str] = {}

    def start(
        self,
        *,
        command: str,
        workdir: Path,
        env: Mapping[str, str],
        description: str,
        background: bool,
    ) -> str:
        task_id = f"task_{len(self.processes) + 1}"
        pieces: list[str] = []
        process = ShellProcess(
            command=command, workdir=workdir, env=env, on_output=pieces.append, on_exit=lambda report: None
        )
        try:
            process.start()
        except StartFailed as error:
            raise ToolFailure("task_start_failed", str(error)) from error
        self.processes[task_id], self.texts[task_id] = process, pieces
        return task_id

    def wait(self, task_id: str, timeout_seconds: float) -> TaskView:
        self._process(task_id).wait(timeout_seconds)
        return self.get(task_id)

    def get(self, task_id: str) -> TaskView:
        process = self._process(task_id)
        report = process.report if process.wait(0) else None
        return TaskView(
            task_id=task_id,
            status=_status(report),
            command=process.command,
            exit_code=report.exit_code if report else None,
            terminal_reason=report.terminal_reason if report else "",
        )

    def output(self, task_id: str, *, tail_bytes: int, full: bool) -> OutputView:
        text = "".join(self.texts[task_id])
        shown = text if full else text[-tail_bytes:]
        return OutputView(
            retrieval_status="success",
            text=shown,
            truncated=shown != text,
            size_bytes=len(shown.encode()),
            total_bytes=len(text.encode()),
            rotated=False,
        )

    def stop(self, task_id: str, reason: str) -> TaskView:
        self.reasons[task_id] = reason
        self._process(task_id).stop(reason, grace_seconds=1)
        return self.get(task_id)

    def _process(self, task_id: str) -> ShellProcess:
        if task_id not in self.processes:
            raise NotFound("no such task", code="task_not_found")
        return self.processes[task_id]


def _status(report: ExitReport | None) -> Any:
    if report is None:
        return "in_progress"
    if report.terminal_reason == "stopped":
        return "cancelled"
    return "completed" if report.exit_code == 0 else "failed"


class MemoryOutputs:
    """Outputs in a list."""

    max_file_bytes = 1000

    def __init__(self) -> None:
        self.emitted: list[tuple[str, list[dict[str, Any]], list[OutputFile]]] = []

    def emit(
        self, content: str, parts: list[dict[str, Any]], files: Sequence[OutputFile] = ()
    ) -> list[dict[str, Any]]:
        self.emitted.append((content, parts, list(files)))
        return [_seen(file) for file in files]


def _seen(file: OutputFile) -> dict[str, Any]:
    if isinstance(file, GivenFile):
        return {"file_name": "given.txt", "media_type": "text/plain", "size_bytes": 5}
    return {"file_name": file.name, "media_type": "text/plain", "size_bytes": len(file.content)}


class MemoryTodos:
    """The last list written."""

    def __init__(self) -> None:
        self.todos: list[dict[str, Any]] = []

    def write(self, todos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self.todos = todos
        return todos


@pytest.fixture
def closes_descriptors() -> Iterator[None]:
    """Fail when the test leaves descriptors open; other tests' threads may still be closing theirs."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    deadline = time.monotonic() + 3
    while len(os.listdir("/proc/self/fd")) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """An empty workspace; its parent holds a file that nothing may reach."""
    (tmp_path / "secret.txt").write_text("outside")
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def context(workspace: Path) -> Iterator[ToolContext]:
    tasks = MemoryTasks()
    yield ToolContext(
        session_id="session_1",
        run_id="run_1",
        call_id="call_1",
        idempotency_key="key_1",
        workspace=workspace,
        cancelled=threading.Event(),
        tasks=tasks,
        outputs=MemoryOutputs(),
        todos=MemoryTodos(),
        env_allowlist=("PATH", "LANG"),
        allow_private_addresses=True,
    )
    for process in tasks.processes.values():
        process.stop(grace_seconds=0.1)


@pytest.fixture
def call(context: ToolContext) -> Callable[..., ToolResult]:
    """Validate and run a tool by name, as the engine does."""

    def run(name: str, **arguments: Any) -> ToolResult:
        tool = registry.get(name)
        assert tool is not None
        assert registry.validate(tool, arguments) == []
        try:
            return tool.run(arguments, context)
        except ToolFailure as failure:
            return failure.as_result()

    return run

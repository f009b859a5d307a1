"""grep_search: lines that match a regular expression."""

import json
import os
import subprocess
import sys
import time
from typing import Any, Final

from sessions_app.tools.base import (
    Arguments,
    ToolContext,
    ToolFailure,
    ToolResult,
    ToolSpec,
    clip,
    object_schema,
)
from sessions_app.tools.fields import BASE, integer

DEFAULT_LIMIT: Final = 100
_LOOK_SECONDS: Final = 0.1


class GrepSearch:
    """Search the content of files."""

    spec = ToolSpec(
        name="grep_search",
        description=(
            "Search files of the workspace below base, line by line, for a regular expression (Python "
            "syntax; start it with (?i) to ignore case). Binary files and files over 4 MiB are left out."
        ),
        schema=object_schema(
            ("pattern",),
            pattern={"type": "string", "minLength": 1, "maxLength": 1000},
            base=BASE | {"description": "Folder or file to search; the root when absent."},
            limit=integer(1, 1000, "How many lines to show at most; 100 when absent."),
        ),
        effect="read",
        sandbox="read_only",
        timeout_seconds=20.0,
        allows_parallel=True,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return ``path:line: text`` lines."""
        limit = arguments.get("limit", DEFAULT_LIMIT)
        request = {
            "root": str(context.workspace),
            "base": arguments.get("base", "."),
            "pattern": arguments["pattern"],
            "limit": limit,
            "cpu_seconds": int(self.spec.timeout_seconds),
        }
        answer = _ask(request, self.spec.timeout_seconds, context)
        if "code" in answer:
            raise ToolFailure(answer["code"], answer["message"])
        lines = [f"{found['path']}:{found['line']}: {found['text']}" for found in answer["matches"]]
        text, clipped = clip("\n".join(lines), self.spec.output_limit_bytes)
        truncated = clipped or answer["truncated"]
        note = f"\n[more than {len(lines)} lines match; narrow the search]" if truncated else ""
        return ToolResult(
            content=text + note or "[nothing found]", data={"lines": len(lines), "truncated": truncated}
        )


def _ask(request: dict[str, Any], timeout_seconds: float, context: ToolContext) -> dict[str, Any]:
    """Run the search in a process of its own and return its answer; kill it when it takes too long."""
    deadline = time.monotonic() + timeout_seconds
    process = subprocess.Popen(
        [sys.executable, "-m", "sessions_app.tools.grep_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"},
        text=True,
        encoding="utf-8",
    )
    question: str | None = json.dumps(request)
    with process:
        while True:
            try:
                output, _ = process.communicate(question, timeout=_LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                question = None
            if context.cancelled.is_set() or time.monotonic() > deadline:
                process.kill()
                code = "cancelled" if context.cancelled.is_set() else "timeout"
                raise ToolFailure(code, "the search was stopped before it ended")
    if process.returncode != 0:
        raise ToolFailure("search_failed", "the search ended unexpectedly; try a simpler pattern")
    return json.loads(output)

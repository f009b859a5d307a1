"""read_file: the content of one file, by lines."""

import base64
import io

from kheish_site.lib.canonical import sha256_hex
from sessions_app.tools.base import (
    KIB,
    Arguments,
    ToolContext,
    ToolFailure,
    ToolResult,
    ToolSpec,
    clip,
    object_schema,
)
from sessions_app.tools.fields import PATH, integer
from sessions_app.tools.workspace import Workspace


class ReadFile:
    """Read text by lines; a binary file only as base64."""

    spec = ToolSpec(
        name="read_file",
        description=(
            "Read a file of the workspace. The first line of the answer names the file, the lines shown "
            "and its SHA-256. Use start_line and line_count for long files, include_base64 for binary ones."
        ),
        schema=object_schema(
            ("path",),
            path=PATH,
            start_line=integer(1, 10**9, "First line to show, from 1."),
            line_count=integer(1, 10**9, "How many lines to show at most."),
            include_base64={"type": "boolean", "description": "Give the whole content as base64."},
        ),
        effect="read",
        sandbox="read_only",
        output_limit_bytes=256 * KIB,
        allows_parallel=True,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return the lines asked for, or the bytes as base64."""
        with Workspace(context.workspace) as workspace, workspace.locate(arguments["path"]) as location:
            path, content = location.relative, location.read()
        about = {"path": path, "sha256": sha256_hex(content), "size_bytes": len(content)}
        if arguments.get("include_base64"):
            return self._as_base64(content, about)
        return self._as_lines(content, about, arguments.get("start_line", 1), arguments.get("line_count"))

    def _as_base64(self, content: bytes, about: dict[str, object]) -> ToolResult:
        encoded = base64.b64encode(content).decode()
        if len(encoded) > self.spec.output_limit_bytes:
            raise ToolFailure("file_too_large", f"{about['path']}: too large to show as base64")
        header = f"[{about['path']}, {about['size_bytes']} bytes as base64, sha256 {about['sha256']}]"
        return ToolResult(content=f"{header}\n{encoded}", data=about)

    def _as_lines(
        self, content: bytes, about: dict[str, object], start: int, count: int | None
    ) -> ToolResult:
        if b"\x00" in content:
            raise ToolFailure("binary_file", f"{about['path']}: a binary file; ask with include_base64")
        lines = list(io.StringIO(content.decode("utf-8", "replace"), newline="\n"))
        wanted = lines[start - 1 : None if count is None else start - 1 + count]
        text, clipped = clip("".join(wanted), self.spec.output_limit_bytes)
        shown = text.count("\n") + (text[-1:] not in ("", "\n"))
        about |= {"start_line": start, "lines_shown": shown, "total_lines": len(lines), "truncated": clipped}
        numbers = f"lines {start}-{start + shown - 1}" if shown else "no lines"
        header = f"[{about['path']}, {numbers} of {len(lines)}, sha256 {about['sha256']}]"
        return ToolResult(content=f"{header}\n{text}", data=about)

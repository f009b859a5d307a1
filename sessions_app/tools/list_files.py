"""list_files: what is below a folder."""

from itertools import islice

from sessions_app.tools.base import Arguments, ToolContext, ToolResult, ToolSpec, object_schema
from sessions_app.tools.fields import BASE, integer
from sessions_app.tools.listing import Entry, walk
from sessions_app.tools.workspace import Workspace

DEFAULT_LIMIT = 200
LIMIT = integer(1, 2000, "How many to show at most; 200 when absent.")


class ListFiles:
    """List files and folders, all levels."""

    spec = ToolSpec(
        name="list_files",
        description=(
            "List files and folders of the workspace below base, all levels, sorted. Folders end in /, "
            "links in @."
        ),
        schema=object_schema(base=BASE, limit=LIMIT),
        effect="read",
        sandbox="read_only",
        allows_parallel=True,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return one path a line."""
        limit = arguments.get("limit", DEFAULT_LIMIT)
        with Workspace(context.workspace) as workspace:
            found = list(islice(walk(workspace, arguments.get("base", ".")), limit + 1))
        return listed(found, limit)


def listed(found: list[Entry], limit: int) -> ToolResult:
    """Return up to ``limit`` entries as a result that says when there are more."""
    lines = [str(entry) for entry in found[:limit]]
    truncated = len(found) > limit
    if truncated:
        lines.append(f"[more than {limit}; narrow the search or raise limit]")
    data = {"paths": [entry.path for entry in found[:limit]], "truncated": truncated}
    return ToolResult(content="\n".join(lines) or "[nothing found]", data=data)

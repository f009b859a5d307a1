"""glob_search: files whose path matches a pattern."""

from itertools import islice

from sessions_app.tools.base import Arguments, ToolContext, ToolResult, ToolSpec, object_schema
from sessions_app.tools.fields import BASE
from sessions_app.tools.list_files import DEFAULT_LIMIT, LIMIT, listed
from sessions_app.tools.listing import glob_matches, walk
from sessions_app.tools.workspace import Workspace


class GlobSearch:
    """Find files by name."""

    spec = ToolSpec(
        name="glob_search",
        description=(
            "Find files of the workspace by a glob matched against their path below base: * and ? stay "
            "within one name, ** crosses folders, as in src/**/*.py."
        ),
        schema=object_schema(
            ("pattern",),
            pattern={"type": "string", "minLength": 1, "maxLength": 500},
            base=BASE,
            limit=LIMIT,
        ),
        effect="read",
        sandbox="read_only",
        allows_parallel=True,
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Return one path a line."""
        limit = arguments.get("limit", DEFAULT_LIMIT)
        base = arguments.get("base", ".")
        with Workspace(context.workspace) as workspace:
            with workspace.locate(base) as location:
                below = 0 if location.relative == "." else len(location.relative) + 1
            matching = (
                entry
                for entry in walk(workspace, base)
                if entry.kind != "folder" and glob_matches(arguments["pattern"], entry.path[below:])
            )
            return listed(list(islice(matching, limit + 1)), limit)

"""edit_file: replace exact text in one file."""

from sessions_app.tools.base import Arguments, ToolSpec, object_schema
from sessions_app.tools.changes import Change, FileChanges
from sessions_app.tools.fields import PATH, SHA256
from sessions_app.tools.hunks import plan_hunks
from sessions_app.tools.workspace import Workspace


class EditFile(FileChanges):
    """Replace text that is there once, or everywhere with ``replace_all``."""

    spec = ToolSpec(
        name="edit_file",
        description=(
            "Replace old_text by new_text in a file of the workspace. old_text must match exactly, "
            "whitespace included, and be there once unless replace_all is true."
        ),
        schema=object_schema(
            ("path", "old_text", "new_text"),
            path=PATH,
            old_text={"type": "string", "minLength": 1},
            new_text={"type": "string"},
            replace_all={"type": "boolean"},
            expected_sha256=SHA256,
        ),
        effect="probeable",
        sandbox="workspace_write",
    )

    def plan(self, arguments: Arguments, workspace: Workspace) -> list[Change]:
        """Plan the one replacement."""
        return plan_hunks([arguments], workspace)

"""apply_patch: replace exact text in several files, all of it or nothing."""

from sessions_app.tools.base import Arguments, ToolSpec, object_schema
from sessions_app.tools.changes import Change, FileChanges
from sessions_app.tools.fields import PATH, SHA256
from sessions_app.tools.hunks import plan_hunks
from sessions_app.tools.workspace import Workspace


class ApplyPatch(FileChanges):
    """Apply hunks to files; every one is checked before the first file is written."""

    spec = ToolSpec(
        name="apply_patch",
        description=(
            "Change several files of the workspace at once. Each hunk replaces old_text, which must match "
            "exactly and be there once unless replace_all is true; an empty old_text creates the file. "
            "Hunks of one file apply in order. If one cannot be applied, no file is changed."
        ),
        schema=object_schema(
            ("hunks",),
            hunks={
                "type": "array",
                "minItems": 1,
                "maxItems": 100,
                "items": object_schema(
                    ("path", "old_text", "new_text"),
                    path=PATH,
                    old_text={"type": "string"},
                    new_text={"type": "string"},
                    replace_all={"type": "boolean"},
                    expected_sha256=SHA256,
                ),
            },
        ),
        effect="probeable",
        sandbox="workspace_write",
    )

    def plan(self, arguments: Arguments, workspace: Workspace) -> list[Change]:
        """Plan one change a file."""
        return plan_hunks(arguments["hunks"], workspace)

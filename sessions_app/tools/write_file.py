"""write_file: put a whole file into the workspace."""

import base64
import binascii

from sessions_app.tools.base import Arguments, ToolFailure, ToolSpec, object_schema
from sessions_app.tools.changes import Change, FileChanges, current, require_digest
from sessions_app.tools.fields import PATH, SHA256
from sessions_app.tools.workspace import MAX_FILE_BYTES, Workspace


class WriteFile(FileChanges):
    """Create or replace one file, folders included."""

    spec = ToolSpec(
        name="write_file",
        description=(
            "Create or replace a file in the workspace. Give the content as text, or as base64 for "
            "binary files. With expected_sha256 the file is only replaced when it still has that digest."
        ),
        schema=object_schema(
            ("path",),
            path=PATH,
            content={"type": "string", "maxLength": MAX_FILE_BYTES},
            content_base64={"type": "string", "maxLength": MAX_FILE_BYTES * 4 // 3 + 4},
            expected_sha256=SHA256,
        )
        | {"oneOf": [{"required": ["content"]}, {"required": ["content_base64"]}]},
        effect="probeable",
        sandbox="workspace_write",
    )

    def plan(self, arguments: Arguments, workspace: Workspace) -> list[Change]:
        """Plan the one replacement."""
        path, before = current(workspace, arguments["path"])
        require_digest(path, before, arguments.get("expected_sha256"))
        return [Change(path=path, before=before, after=_content(arguments))]


def _content(arguments: Arguments) -> bytes:
    if "content" in arguments:
        return arguments["content"].encode()
    try:
        return base64.b64decode(arguments["content_base64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ToolFailure("invalid_arguments", "content_base64 is not base64") from error

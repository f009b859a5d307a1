"""emit_output: say something to whoever gave the work. Where it goes is not the model's to choose."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from sessions_app.tools.base import (
    MIB,
    Arguments,
    GivenFile,
    OutputFile,
    ToolContext,
    ToolFailure,
    ToolResult,
    ToolSpec,
    WorkspaceFile,
    object_schema,
)
from sessions_app.tools.fields import PATH
from sessions_app.tools.workspace import Workspace

MOST_FILES: Final = 10
"""Files of one output."""
_MOST_NAMED: Final = 100


class EmitOutput:
    """Add an output to the run, before its final answer."""

    spec = ToolSpec(
        name="emit_output",
        description=(
            "Send an output to whoever gave the work, without ending the run. Give content, parts, "
            "attachments or several of them; parts are pieces of text shown one after the other. "
            f"Attachments are at most {MOST_FILES} files, each named either by its path in the workspace "
            "or by the asset_id of a file this session was given."
        ),
        schema=object_schema(
            content={"type": "string", "maxLength": MIB},
            parts={
                "type": "array",
                "maxItems": 50,
                "items": object_schema(("text",), text={"type": "string", "minLength": 1, "maxLength": MIB}),
            },
            attachments={
                "type": "array",
                "maxItems": _MOST_NAMED,
                "items": object_schema(
                    path=PATH,
                    asset_id={
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 40,
                        "description": "Id of a file that came with an input of this session.",
                    },
                ),
            },
        ),
        effect="idempotent",
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Hand the output to the run, files included."""
        content, parts = arguments.get("content", ""), arguments.get("parts", [])
        named = arguments.get("attachments", [])
        if not content.strip() and not parts and not named:
            raise ToolFailure("invalid_arguments", "give content, parts or attachments")
        sent = context.outputs.emit(content, parts, _opened(named, context))
        said = ", ".join(f"{file['file_name']} ({file['size_bytes']} bytes)" for file in sent)
        data = {"parts": len(parts), **({"attachments": sent} if sent else {})}
        return ToolResult(content=f"sent with {said}" if sent else "sent", data=data)


def _opened(named: Sequence[dict[str, Any]], context: ToolContext) -> list[OutputFile]:
    """Return the files that are named, those of the workspace read. Raises ToolFailure."""
    if len(named) > MOST_FILES:
        raise ToolFailure(
            "too_many_attachments", f"{len(named)} attachments; {MOST_FILES} go with one output"
        )
    if any(len(item) != 1 for item in named):
        raise ToolFailure("invalid_arguments", "name each attachment by path or by asset_id, one of the two")
    if not any("path" in item for item in named):
        return [GivenFile(asset_id=item["asset_id"]) for item in named]
    with Workspace(context.workspace) as workspace:
        return [_file(workspace, item, context.outputs.max_file_bytes) for item in named]


def _file(workspace: Workspace, item: dict[str, Any], limit_bytes: int) -> OutputFile:
    if "asset_id" in item:
        return GivenFile(asset_id=item["asset_id"])
    with workspace.locate(item["path"]) as location:
        content = location.read(limit_bytes)
        return WorkspaceFile(name=PurePosixPath(location.relative).name, content=content)

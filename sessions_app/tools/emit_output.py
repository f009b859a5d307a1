"""emit_output: say something to whoever gave the work."""

from sessions_app.tools.base import (
    MIB,
    Arguments,
    ToolContext,
    ToolFailure,
    ToolResult,
    ToolSpec,
    object_schema,
)


class EmitOutput:
    """Add an output to the run, before its final answer."""

    spec = ToolSpec(
        name="emit_output",
        description=(
            "Send an output to whoever gave the work, without ending the run. Give content, parts or both; "
            "parts are pieces of text shown one after the other."
        ),
        schema=object_schema(
            content={"type": "string", "maxLength": MIB},
            parts={
                "type": "array",
                "maxItems": 50,
                "items": object_schema(("text",), text={"type": "string", "minLength": 1, "maxLength": MIB}),
            },
        ),
        effect="idempotent",
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Hand the output to the run."""
        content, parts = arguments.get("content", ""), arguments.get("parts", [])
        if not content.strip() and not parts:
            raise ToolFailure("invalid_arguments", "give content or parts")
        context.outputs.emit(content, parts)
        return ToolResult(content="sent", data={"parts": len(parts)})

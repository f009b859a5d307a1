"""todo_write: the plan of a session, as a list people can watch."""

from typing import Any

from sessions_app.tools.base import Arguments, ToolContext, ToolFailure, ToolResult, ToolSpec, object_schema


class TodoWrite:
    """Replace the todo list."""

    spec = ToolSpec(
        name="todo_write",
        description=(
            "Write the plan of this session: the whole list, in order, each item with what is to do and "
            "whether it is completed. It replaces the former list."
        ),
        schema=object_schema(
            ("todos",),
            todos={
                "type": "array",
                "maxItems": 200,
                "items": object_schema(
                    ("content",),
                    id={"type": "string", "minLength": 1, "maxLength": 100},
                    content={"type": "string", "minLength": 1, "maxLength": 2000},
                    completed={"type": "boolean"},
                ),
            },
        ),
        effect="idempotent",
    )

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Store the list and show it as the model will see it later."""
        todos = context.todos.write(normalise_todos(arguments["todos"]))
        lines = [f"[{'x' if todo['completed'] else ' '}] {todo['id']}: {todo['content']}" for todo in todos]
        return ToolResult(content="\n".join(lines) or "[the list is empty]", data={"todos": todos})


def normalise_todos(todos: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``{id, content, completed}`` for each; items without an id get the first free number.

    The same input gives the same ids, so a repeated call changes nothing. Raises ToolFailure when two
    items name the same id.
    """
    named = [todo["id"] for todo in todos if "id" in todo]
    if len(set(named)) != len(named):
        raise ToolFailure("invalid_arguments", "two todos have the same id")
    free = (str(number) for number in range(1, 2 * len(todos) + 1) if str(number) not in named)
    return [
        {
            "id": todo["id"] if "id" in todo else next(free),
            "content": todo["content"],
            "completed": todo.get("completed", False),
        }
        for todo in todos
    ]

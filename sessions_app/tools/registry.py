"""The tools there are, by name."""

from typing import Final

from sessions_app.tools.apply_patch import ApplyPatch
from sessions_app.tools.ask_user_question import AskUserQuestion
from sessions_app.tools.base import Particular, Probeable, Tool
from sessions_app.tools.bash import Bash
from sessions_app.tools.edit_file import EditFile
from sessions_app.tools.emit_output import EmitOutput
from sessions_app.tools.glob_search import GlobSearch
from sessions_app.tools.grep_search import GrepSearch
from sessions_app.tools.list_files import ListFiles
from sessions_app.tools.read_file import ReadFile
from sessions_app.tools.schemas import problems
from sessions_app.tools.task_output import TaskOutput
from sessions_app.tools.task_stop import TaskStop
from sessions_app.tools.todo_write import TodoWrite
from sessions_app.tools.web_fetch import WebFetch
from sessions_app.tools.write_file import WriteFile


def register(tool: Tool) -> None:
    """Add a tool to our own, at start.

    Raises ValueError for a name that is taken or a promise it cannot keep.
    """
    name = tool.spec.name
    if name in _TOOLS:
        raise ValueError(f"there is a tool {name} already")
    if tool.spec.effect == "probeable" and not isinstance(tool, Probeable):
        raise ValueError(f"{name} is declared probeable and has no probe")
    problems(tool.spec.schema, {})  # a schema that is none fails here, not in a run
    _TOOLS[name] = tool


def all_tools() -> dict[str, Tool]:
    """Return every tool by name, in alphabetical order."""
    return dict(sorted(_TOOLS.items()))


def get(name: str) -> Tool | None:
    """Return the tool of that name."""
    return _TOOLS.get(name)


def validate(tool: Tool, arguments: object) -> list[str]:
    """Return what is wrong with ``arguments``, a line each; empty when the tool can be called."""
    found = problems(tool.spec.schema, arguments)
    if found or not isinstance(tool, Particular) or not isinstance(arguments, dict):
        return found
    return tool.problems(arguments)


_OWN: Final[tuple[Tool, ...]] = (
    ApplyPatch(),
    AskUserQuestion(),
    Bash(),
    EditFile(),
    EmitOutput(),
    GlobSearch(),
    GrepSearch(),
    ListFiles(),
    ReadFile(),
    TaskOutput(),
    TaskStop(),
    TodoWrite(),
    WebFetch(),
    WriteFile(),
)
_TOOLS: Final[dict[str, Tool]] = {tool.spec.name: tool for tool in _OWN}

"""JSON schemas of the arguments that several tools take."""

from typing import Any, Final

PATH: Final[dict[str, Any]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 4096,
    "description": "Path in the workspace, relative to its root.",
}
BASE: Final[dict[str, Any]] = PATH | {"description": "Folder to start from; the root when absent."}
SHA256: Final[dict[str, Any]] = {
    "type": "string",
    "pattern": "^[0-9a-fA-F]{64}$",
    "description": "SHA-256 the file must have now, in hex; anything else stops the call.",
}
TASK_ID: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 100}


def integer(minimum: int, maximum: int, description: str) -> dict[str, Any]:
    """Return the schema of a whole number in a range."""
    return {"type": "integer", "minimum": minimum, "maximum": maximum, "description": description}

"""The search behind grep_search, run as a process of its own.

A regular expression can take for ever on a short line, and while it runs no other thread of its process
does: not the heartbeat of the worker either. A process can be killed.

Reads one JSON request from standard input, ``{root, base, pattern, limit, cpu_seconds}``, and prints one
JSON answer: ``{matches: [{path, line, text}], truncated}`` or ``{code, message}``.
"""

import json
import re
import resource
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sessions_app.tools.base import MIB, ToolFailure
from sessions_app.tools.listing import walk
from sessions_app.tools.workspace import Workspace

MAX_LINE_CHARACTERS: Final = 400
MAX_SEARCHED_BYTES: Final = 4 * MIB


def search(request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request. Raises ToolFailure."""
    try:
        pattern = re.compile(request["pattern"])
    except (re.error, RecursionError, OverflowError) as error:
        raise ToolFailure("invalid_pattern", f"not a regular expression: {error}") from error
    limit = request["limit"]
    with Workspace(Path(request["root"])) as workspace:
        found = list(islice(_matches(workspace, request["base"], pattern), limit + 1))
    return {"matches": found[:limit], "truncated": len(found) > limit}


def _matches(workspace: Workspace, base: str, pattern: re.Pattern[str]) -> Iterator[dict[str, Any]]:
    for path in _files(workspace, base):
        try:
            content = workspace.read(path)
        except ToolFailure:
            continue  # gone or closed to us since the listing, or too large
        if len(content) > MAX_SEARCHED_BYTES or b"\x00" in content[:8192]:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), start=1):
            if pattern.search(line):
                shown = line.rstrip("\r").replace("\x00", "\ufffd")[:MAX_LINE_CHARACTERS]
                yield {"path": path, "line": number, "text": shown}


def _files(workspace: Workspace, base: str) -> Iterator[str]:
    with workspace.locate(base) as location:
        single = location.info is not None and not location.is_directory
        relative = location.relative
    if single:
        return iter([relative])
    return (entry.path for entry in walk(workspace, base) if entry.kind == "file")


def main() -> None:
    """Answer the one request on standard input."""
    request = json.load(sys.stdin)
    # Ends even when whoever started this has died.
    resource.setrlimit(resource.RLIMIT_CPU, (request["cpu_seconds"], request["cpu_seconds"]))
    try:
        answer = search(request)
    except ToolFailure as failure:
        answer = {"code": failure.code, "message": failure.message}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()

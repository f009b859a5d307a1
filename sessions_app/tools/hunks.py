"""Replace exact text in files: the common half of edit_file and apply_patch."""

from typing import Any

from sessions_app.tools.base import ToolFailure
from sessions_app.tools.changes import Change, current, require_digest
from sessions_app.tools.workspace import Workspace


def replace_text(path: str, content: bytes | None, hunk: dict[str, Any]) -> bytes:
    """Return ``content`` with the hunk's old text replaced; an empty old text makes a new file.

    Raises ToolFailure: ``file_not_found``, ``file_exists``, ``text_not_found``, ``text_not_unique``.
    """
    old, new = hunk["old_text"].encode(), hunk["new_text"].encode()
    if not old:
        if content is not None:
            raise ToolFailure("file_exists", f"{path}: exists, so old_text must not be empty")
        return new
    if content is None:
        raise ToolFailure("file_not_found", f"{path}: no such file")
    found = content.count(old)
    if not found:
        hint = " (its lines end in CRLF)" if b"\r\n" in content and b"\r\n" not in old else ""
        raise ToolFailure("text_not_found", f"{path}: old_text is not in the file{hint}")
    if found > 1 and not hunk.get("replace_all"):
        raise ToolFailure(
            "text_not_unique", f"{path}: old_text is there {found} times; give more of it or replace_all"
        )
    return content.replace(old, new)


def plan_hunks(hunks: list[dict[str, Any]], workspace: Workspace) -> list[Change]:
    """Apply every hunk in memory, in order, and return one change a file.

    Digests are compared with what is on disk. Every hunk is tried, so that one failure names all that
    is wrong; a failure means that nothing may be written.
    """
    on_disk: dict[str, bytes | None] = {}
    planned: dict[str, bytes | None] = {}
    failures: list[ToolFailure] = []
    for hunk in hunks:
        try:
            path, content = current(workspace, hunk["path"])
            on_disk.setdefault(path, content)
            require_digest(path, on_disk[path], hunk.get("expected_sha256"))
            planned[path] = replace_text(path, planned.get(path, on_disk[path]), hunk)
        except ToolFailure as failure:
            failures.append(failure)
    if failures:
        raise ToolFailure(failures[0].code, "\n".join(failure.message for failure in failures))
    return [
        Change(path=path, before=on_disk[path], after=after)
        for path, after in planned.items()
        if after is not None
    ]

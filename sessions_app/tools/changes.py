"""Changing files of a workspace: plan every new content, write all of them or none, prove it later.

A plan is made from what is on disk; writing it replaces whole files (a reader sees the old content or the
new, never a mixture) and puts the old ones back when a later one fails. The digests before and after
are what a probe needs to tell, after a crash, whether the change took place.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from kheish_site.lib.canonical import sha256_hex
from sessions_app.tools.base import (
    Arguments,
    Prepared,
    ProbeInconclusive,
    ToolContext,
    ToolFailure,
    ToolResult,
    ToolSpec,
)
from sessions_app.tools.workspace import MAX_FILE_BYTES, Location, Workspace

TEMPORARY_PREFIX: Final = ".kheish-"
TEMPORARY_SUFFIX: Final = ".tmp"


@dataclass(frozen=True, kw_only=True)
class Change:
    """New content for the file at ``path`` (its one spelling). ``before`` is None for a new file."""

    path: str
    before: bytes | None
    after: bytes

    def __post_init__(self) -> None:
        if len(self.after) > MAX_FILE_BYTES:
            raise ToolFailure("file_too_large", f"{self.path}: would be larger than {MAX_FILE_BYTES} bytes")

    @property
    def digests(self) -> dict[str, Any]:
        """Return ``{path, before, after}`` with SHA-256 digests."""
        return {"path": self.path, "before": digest_of(self.before), "after": sha256_hex(self.after)}


def digest_of(content: bytes | None) -> str | None:
    """Return the SHA-256 of ``content``, or None for no file."""
    return None if content is None else sha256_hex(content)


def current(workspace: Workspace, path: str) -> tuple[str, bytes | None]:
    """Return the one spelling of ``path`` and the content there; None when there is no file."""
    with workspace.locate(path, parents="planned") as location:
        return location.relative, None if location.info is None else location.read()


def require_digest(path: str, content: bytes | None, expected_sha256: str | None) -> None:
    """Raise ToolFailure(precondition_failed) unless the file has the digest that was asked for."""
    found = digest_of(content)
    if expected_sha256 and found != expected_sha256.lower():
        raise ToolFailure(
            "precondition_failed", f"{path}: expected SHA-256 {expected_sha256}, found {found or 'no file'}"
        )


class FileChanges:
    """What the writing tools share; each adds its ``spec`` and its ``plan``."""

    spec: ToolSpec

    def plan(self, arguments: Arguments, workspace: Workspace) -> list[Change]:
        """Return what the call would change. Raises ToolFailure when it cannot be applied whole."""
        raise ToolFailure("tool_misconfigured", f"{self.spec.name} plans nothing")

    def run(self, arguments: Arguments, context: ToolContext) -> ToolResult:
        """Write every planned change or none."""
        with Workspace(context.workspace) as workspace, workspace.locked():
            changes = self.plan(arguments, workspace)
            write_all(workspace, changes, context.idempotency_key)
        return _report([change.digests for change in changes])

    def prepare(self, arguments: Arguments, context: ToolContext) -> Prepared:
        """Return ``{"files": [{path, before, after}]}``: the digests a probe compares."""
        with Workspace(context.workspace) as workspace:
            return {"files": [change.digests for change in self.plan(arguments, workspace)]}

    def probe(self, arguments: Arguments, prepared: Prepared, context: ToolContext) -> ToolResult | None:
        """Compare the files with what they were to become."""
        files = prepared.get("files")
        if not files:
            raise ProbeInconclusive("nothing was recorded before the call started")
        with Workspace(context.workspace) as workspace:
            try:
                found = [digest_of(current(workspace, file["path"])[1]) for file in files]
            except ToolFailure as failure:
                raise ProbeInconclusive(failure.message) from failure
        if all(digest == file["after"] for digest, file in zip(found, files, strict=True)):
            return _report(files)
        if all(digest == file["before"] for digest, file in zip(found, files, strict=True)):
            return None
        raise ProbeInconclusive("; ".join(map(_standing, found, files)))


def _standing(digest: str | None, file: dict[str, Any]) -> str:
    states = {file["after"]: "changed as asked", file["before"]: "not changed"}
    return f"{file['path']}: {states.get(digest, 'changed by somebody else')}"


def _report(files: list[dict[str, Any]]) -> ToolResult:
    verbs = [_verb(file) for file in files]
    lines = [f"{v} {f['path']} (sha256 {f['after']})" for v, f in zip(verbs, files, strict=True)]
    return ToolResult(content="\n".join(lines), data={"files": files})


def _verb(file: dict[str, Any]) -> str:
    if file["before"] is None:
        return "created"
    return "unchanged" if file["before"] == file["after"] else "changed"


def write_all(workspace: Workspace, changes: list[Change], key: str) -> None:
    """Write every change, or put back what was written and raise ToolFailure.

    Must run under ``workspace.locked()``. ``key`` names the temporary files, so that a repeat of the
    same call takes over what a crash left behind.
    """
    for index, change in enumerate(changes):
        try:
            _replace(workspace, change, key)
        except ToolFailure as failure:
            lost = [done.path for done in reversed(changes[:index]) if not _put_back(workspace, done, key)]
            rest = f"could not be put back: {', '.join(lost)}" if lost else "nothing was changed"
            raise ToolFailure(failure.code, f"{failure.message}; {rest}", not_restored=lost) from failure


def _replace(workspace: Workspace, change: Change, key: str) -> None:
    if change.before == change.after:
        return
    with workspace.locate(change.path, parents="create") as location:
        # A shell command takes no lock: look again as late as possible.
        found = None if location.info is None else location.read()
        if found != change.before or location.relative != change.path:
            raise ToolFailure("file_changed", f"{change.path}: changed while it was being edited")
        _write(location, change.after, key)


def _put_back(workspace: Workspace, change: Change, key: str) -> bool:
    """Undo ``change`` where it was written; folders that were made stay. Says whether it could."""
    try:
        with workspace.locate(change.path, parents="planned") as location:
            if location.info is None or location.read() != change.after:
                return True  # somebody else's content by now
            if change.before is None:
                os.unlink(location.name, dir_fd=location.parent_fd)
            elif change.before != change.after:
                _write(location, change.before, key)
    except ToolFailure:
        return False
    return True


def _write(location: Location, content: bytes, key: str) -> None:
    temporary = f"{TEMPORARY_PREFIX}{sha256_hex(key + location.relative)[:20]}{TEMPORARY_SUFFIX}"
    folder = location.parent_fd
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
            if location.info is not None:
                os.fchmod(file.fileno(), location.info.st_mode & 0o777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, location.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
    with suppress(OSError):  # some file systems cannot; the change itself is made
        os.fsync(folder)

"""One session's folder, and the only way tools reach files in it.

A path is walked one component at a time, each opened relative to the folder before it and never
through a symbolic link; links are read and followed here, so that one pointing outside is refused and a
component exchanged for a link between look and use cannot lead out. Hard links are not detected:
making one to a file outside takes a shell command, which could as well read that file.
"""

import errno
import fcntl
import os
import stat
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sessions_app.tools.base import MIB, ToolFailure

MAX_FILE_BYTES: Final = 16 * MIB
MAX_LINKS: Final = 40
MAX_DEPTH: Final = 64
LOCK_WAIT_SECONDS: Final = 10.0
Parents = Literal["required", "create", "planned"]
DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, kw_only=True)
class Location:
    """A resolved place: ``name`` in the open folder ``parent_fd``; never a symbolic link.

    ``relative`` is its one spelling from the root ("." for the root itself). ``info`` is None when
    nothing is there.
    """

    parent_fd: int
    name: str
    relative: str
    info: os.stat_result | None

    @property
    def is_directory(self) -> bool:
        """Say whether a folder is there."""
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)

    def read(self, limit_bytes: int | None = None) -> bytes:
        """Return the content of the regular file here, ``MAX_FILE_BYTES`` of it unless told otherwise.

        Raises ToolFailure when there is none, or when it is larger.
        """
        limit = MAX_FILE_BYTES if limit_bytes is None else limit_bytes
        if self.info is None:
            raise ToolFailure("file_not_found", f"{self.relative}: no such file")
        if not stat.S_ISREG(self.info.st_mode):
            raise ToolFailure("not_a_file", f"{self.relative}: not a regular file")
        with _explained(self.relative):
            # non-blocking: a pipe put here since the look would otherwise hold the worker
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            with os.fdopen(os.open(self.name, flags, dir_fd=self.parent_fd), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ToolFailure("not_a_file", f"{self.relative}: not a regular file")
                content = file.read(limit + 1)
        if len(content) > limit:
            raise ToolFailure("file_too_large", f"{self.relative}: larger than {limit} bytes")
        return content


class Workspace:
    """An open workspace folder. Use as a context manager."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))

    def __enter__(self) -> "Workspace":
        try:
            self._fd = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ToolFailure("workspace_unavailable", f"the workspace: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @contextmanager
    def locate(self, path: str, *, parents: Parents = "required") -> Iterator[Location]:
        """Resolve ``path`` and hold its folder open. The last component need not exist.

        Missing folders on the way are an error, are made (``create``), or are only spelled
        (``planned``: such a location says where the file would be, nothing can be written through it).

        Raises ToolFailure: ``path_invalid``, ``path_outside_workspace``, ``path_not_found``.
        """
        walk = _Walk(self, parents)
        try:
            with _explained(path):
                yield walk.to(path)
        finally:
            walk.close()

    def read(self, path: str) -> bytes:
        """Return the content of the regular file at ``path``."""
        with self.locate(path) as location:
            return location.read()

    def components(self, path: str) -> list[str]:
        """Split ``path``; an absolute one must name a place below the root."""
        if not path or "\x00" in path:
            raise ToolFailure("path_invalid", "the path is empty or holds NUL")
        if path.startswith("/"):
            for root in {str(self.root), os.path.realpath(self.root)}:
                if path == root or path.startswith(root.rstrip("/") + "/"):
                    path = path[len(root) :]
                    break
            else:
                raise outside(path)
        return [part for part in path.split("/") if part not in ("", ".")]

    def duplicate_root(self) -> int:
        """Return a new descriptor of the root folder."""
        return os.dup(self._fd)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other tools from writing in this workspace, in this process and in others.

        Raises ToolFailure(workspace_busy) after ten seconds.
        """
        # An open of its own: flock belongs to the open file, and threads must exclude each other.
        fd = os.open(".", DIRECTORY_FLAGS, dir_fd=self._fd)
        try:
            with _explained("the lock of the workspace"):
                _lock(fd)
            yield
        finally:
            os.close(fd)


class _Walk:
    """Resolution of one path. ``folders`` are the open ones from the root down to where the walk is."""

    def __init__(self, workspace: Workspace, parents: Parents) -> None:
        self.workspace = workspace
        self.parents = parents
        self.folders: list[tuple[int, str]] = []
        self.links = 0

    def to(self, path: str) -> Location:
        self._restart()
        pending = deque(self.workspace.components(path))
        while pending:
            part = pending.popleft()
            if part == "..":
                self._leave(path)
                continue
            info = _look(part, self.folders[-1][0])
            if info and stat.S_ISLNK(info.st_mode):
                pending.extendleft(reversed(self._link_target(part, path)))
            elif not pending:
                return self._location([part], info)
            elif info is None and self.parents == "planned" and ".." not in pending:
                return self._location([part, *pending], None)  # no link can be on the missing part
            else:
                self._enter(part, info, path)
        return self._location([], os.stat(self.folders[-1][0]))

    def close(self) -> None:
        while self.folders:
            os.close(self.folders.pop()[0])

    def _restart(self) -> None:
        self.close()
        self.folders.append((self.workspace.duplicate_root(), ""))

    def _leave(self, path: str) -> None:
        if len(self.folders) == 1:
            raise outside(path)
        os.close(self.folders.pop()[0])

    def _enter(self, name: str, info: os.stat_result | None, path: str) -> None:
        parent = self.folders[-1][0]
        if len(self.folders) > MAX_DEPTH:
            raise ToolFailure("path_invalid", f"{path}: deeper than {MAX_DEPTH} folders")
        if info is None:
            if self.parents != "create":
                raise ToolFailure("path_not_found", f"{path}: no such file or folder")
            os.mkdir(name, dir_fd=parent)
        self.folders.append((os.open(name, DIRECTORY_FLAGS, dir_fd=parent), name))

    def _link_target(self, name: str, path: str) -> list[str]:
        self.links += 1
        if self.links > MAX_LINKS:
            raise ToolFailure("path_invalid", f"{path}: too many symbolic links")
        target = os.readlink(name, dir_fd=self.folders[-1][0])
        parts = self.workspace.components(target)
        if target.startswith("/"):
            self._restart()
        return parts

    def _location(self, rest: list[str], info: os.stat_result | None) -> Location:
        relative = "/".join([name for _, name in self.folders[1:]] + rest) or "."
        return Location(
            parent_fd=self.folders[-1][0], name=rest[-1] if rest else ".", relative=relative, info=info
        )


def outside(path: str) -> ToolFailure:
    """Return the failure of a path that leaves the workspace."""
    return ToolFailure("path_outside_workspace", f"{path}: outside the workspace")


def _look(name: str, parent_fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _lock(fd: int) -> None:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ToolFailure("workspace_busy", "another writer holds the workspace") from None
            time.sleep(0.02)


_CODES: Final = {
    errno.ENOENT: "path_not_found",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.ENOSPC: "disk_full",
    errno.EDQUOT: "disk_full",
}


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what the operating system refuses into a failure the model can read."""
    try:
        yield
    except OSError as error:
        code = _CODES.get(error.errno or 0, "path_invalid")
        raise ToolFailure(code, f"{path}: {error.strerror or 'cannot be used'}") from error
    except UnicodeEncodeError as error:
        raise ToolFailure("path_invalid", "the path is not valid Unicode") from error

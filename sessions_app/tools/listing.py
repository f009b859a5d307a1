"""Walk a folder of the workspace, bounded and without following links, and match names to globs."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Literal

from sessions_app.tools.base import ToolFailure
from sessions_app.tools.changes import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from sessions_app.tools.workspace import DIRECTORY_FLAGS, MAX_DEPTH, Workspace

MAX_ENTRIES: Final = 100_000
UNSEEN_FOLDERS: Final = frozenset({".git", ".hg", ".svn"})
# line breaks would forge lines of an answer; lone surrogates stand for bytes that are not UTF-8
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
Kind = Literal["file", "folder", "link", "special"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing below a folder. ``path`` is relative to the root of the workspace."""

    path: str
    kind: Kind
    size_bytes: int

    def __str__(self) -> str:
        return self.path + {"folder": "/", "link": "@"}.get(self.kind, "")


def walk(workspace: Workspace, base: str) -> Iterator[Entry]:
    """Yield what is below ``base``, sorted, folders before their content.

    Version control's own folders, this runtime's temporary files, what lies deeper than 64 folders and
    what comes after 100,000 entries are left out. Raises ToolFailure when ``base`` is not a folder.
    """
    with workspace.locate(base) as location:
        if location.info is None:
            raise ToolFailure("path_not_found", f"{base}: no such folder")
        if not location.is_directory:
            raise ToolFailure("not_a_folder", f"{base}: not a folder")
        fd = os.open(location.name, DIRECTORY_FLAGS, dir_fd=location.parent_fd)
        prefix = "" if location.relative == "." else location.relative + "/"
        for count, entry in enumerate(_below(fd, prefix, MAX_DEPTH)):
            if count == MAX_ENTRIES:
                return
            yield entry


def _below(fd: int, prefix: str, depth: int) -> Iterator[Entry]:
    """Yield the content of the open folder ``fd`` and close it."""
    try:
        for name in sorted(os.listdir(fd)):
            with suppress(OSError):  # gone or closed to us since the listing
                entry = _entry(fd, prefix, name)
                if entry is None:
                    continue
                yield entry
                if entry.kind == "folder" and depth > 1:
                    yield from _below(os.open(name, DIRECTORY_FLAGS, dir_fd=fd), entry.path + "/", depth - 1)
    finally:
        os.close(fd)


def _entry(fd: int, prefix: str, name: str) -> Entry | None:
    temporary = name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)
    if temporary or name in UNSEEN_FOLDERS or _UNSHOWABLE.search(name):
        return None
    info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    return Entry(path=prefix + name, kind=_kind(info.st_mode), size_bytes=info.st_size)


def _kind(mode: int) -> Kind:
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISLNK(mode):
        return "link"
    return "file" if stat.S_ISREG(mode) else "special"


def glob_matches(pattern: str, path: str) -> bool:
    """Say whether ``path`` matches: ``*`` and ``?`` within one name, ``**`` for any number of folders.

    Takes time proportional to the product of their lengths, whatever the pattern.
    """
    names = path.split("/")
    reached = {0}  # how many names are matched so far, for each way of matching
    for part in pattern.split("/"):
        if part == "**":
            reached = set(range(min(reached), len(names) + 1)) if reached else set()
        else:
            reached = {at + 1 for at in reached if at < len(names) and fnmatchcase(names[at], part)}
    return len(names) in reached

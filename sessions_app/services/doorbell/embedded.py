"""The embedded profile: commits are noticed by watching the file, deltas cross by a local socket.

The process that serves streams binds the socket while somebody listens; a worker sends without
waiting and drops what does not fit. The folder is the owner's alone, so nobody else can listen.
"""

import hashlib
import os
import socket
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from sessions_app.services.doorbell.live import Delta

_LONGEST_PATH: Final = 100  # sun_path holds 108 bytes on Linux and 104 on macOS
_RECEIVE_BYTES: Final = 1 << 20


class EmbeddedBell:
    """Rings nothing (the file's change counter does) and sends deltas to the local socket."""

    def __init__(self, state_dir: Path) -> None:
        self._path = socket_path(state_dir)

    def ring_readers(self, session_pk: int, seq: int) -> None:
        """Readers watch the database file."""

    def ring_workers(self, session_pk: int) -> None:
        """The worker's feeder watches the database file."""

    def delta(self, delta: Delta) -> None:
        """Send ``delta``, or drop it: nobody listens, or the listener is behind."""
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(delta.encode(), str(self._path))


def socket_path(state_dir: Path) -> Path:
    """Return where the socket is: in the state folder, or in a private folder when that path is too long."""
    path = state_dir / "live.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    name = hashlib.sha256(os.fsencode(state_dir.absolute())).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"kheish-{os.getuid()}-{name}" / "live.sock"


def bind(state_dir: Path) -> socket.socket:
    """Return the receiving end, non-blocking. The last process to bind is the one that hears.

    Raises: OSError when the folder is missing or is not the owner's alone.
    """
    path = socket_path(state_dir)
    if path.parent != state_dir:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _check_private(path.parent)
    path.unlink(missing_ok=True)
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        receiver.bind(str(path))
        path.chmod(0o600)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        receiver.setblocking(False)
    except OSError:
        receiver.close()
        raise
    return receiver


def _check_private(folder: Path) -> None:
    """A folder below /tmp could have been laid there by somebody else."""
    found = folder.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not mine or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(f"{folder} is not a private folder of this user")

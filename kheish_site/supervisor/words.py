"""What ``serve`` tells the person in front of it."""

from pathlib import Path
from typing import Any

READY = """
Kheish is ready.

  Console  {url}/admin/
  Login    {login}
  API      {url}/docs/
  State    {state} (keys, database, operator.token)
  Try      {try_line}
  Stop     Ctrl-C
"""

OPEN = """
Note: {host} can be reached from other machines, without encryption. Put an HTTPS proxy in front and
set KHEISH_BEHIND_HTTPS=1 and KHEISH_ALLOWED_HOSTS.
"""

AS_ROOT = "Note: this runs as root, and so do the shell commands that agents are allowed to run."


def say(words: str) -> None:
    """Print a message for the person who started the service."""
    print(words, flush=True)


def login_text(prepared: dict[str, Any]) -> str:
    """Return the login that preparation has just made, or ""."""
    login = prepared.get("login")
    return f"{login['username']} / {login['password']}   (shown this once)" if login else ""


def ready_text(*, url: str, state_dir: Path, prepared: dict[str, Any]) -> str:
    """Return the addresses, the login (with its password if it was just made) and the next command."""
    before = "" if state_dir == Path.cwd() / ".kheish" else f"KHEISH_STATE_DIR={state_dir} "
    try_line = f"{before}python3 manage.py sessions create demo"
    return READY.format(
        url=url, login=login_text(prepared) or "as before", state=state_dir, try_line=try_line
    )

"""The browser that tests and pictures are made with: Debian's Chromium with its driver.

Its headless shell is the same engine without the window around it: a tenth less work.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SHELL = "chromium-headless-shell"
PACKAGES = (SHELL, "chromium-driver")
PROGRAMS = (SHELL, "chromedriver")


def shell() -> str:
    """Return the browser itself: Debian's command is a script around it, which may end without it."""
    itself = Path("/usr/lib/chromium") / SHELL
    return str(itself) if itself.exists() else shutil.which(SHELL) or SHELL


def install_browser() -> None:
    """Install Chromium unless it is there. Exits with the line to run when that needs another user."""
    if all(shutil.which(program) for program in PROGRAMS):
        return
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES]
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        sys.exit(f"The browser tests need Chromium and its driver. Run this once: sudo {' '.join(install)}")
    print("Installing Chromium for the browser tests", file=sys.stderr, flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-q"], install):
        done = subprocess.run(command, env=quiet, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

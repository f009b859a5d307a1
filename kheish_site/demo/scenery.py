"""What the agent finds in its workspace: a dashboard, a list of deployments, a way back."""

import os
import shlex
from pathlib import Path

LATENCY = """\
checkout  p95 latency, last 40 minutes
10:00   240 ms
10:10   238 ms
10:20   251 ms
10:21   deploy marker: checkout 2026.11.3
10:22  1480 ms
10:30  1910 ms   ALERT above 1500 ms
"""
DEPLOYS = """\
time   service    version     by
08:15  search     2026.11.1   pipeline
09:40  payments   2026.11.2   pipeline
10:21  checkout   2026.11.3   pipeline
"""
ROLLBACK = """\
#!/bin/sh
set -eu
echo "$1: rolling back 2026.11.3 -> 2026.11.2"
echo "$1" >> rollbacks.log
echo "$1: healthy, p95 243 ms (rollback number $(wc -l < rollbacks.log | tr -d ' '))"
"""
FILES = {"latency.txt": LATENCY, "deploys.txt": DEPLOYS, "rollback.sh": ROLLBACK}


def put_into(folder: Path) -> None:
    """Write the files into a workspace of this machine."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in FILES.items():
        (folder / name).write_text(text)
    os.chmod(folder / "rollback.sh", 0o700)  # the agent runs it


def as_command() -> str:
    """Return a shell command that writes the same files, for a workspace that is elsewhere."""
    writes = [f"printf %s {shlex.quote(text)} > {name}" for name, text in FILES.items()]
    return " && ".join([*writes, "chmod 700 rollback.sh"])

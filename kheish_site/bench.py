"""``manage.py bench NAME``: measure the service on this machine; see ``bench/`` and docs/benchmark.md."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "bench"


def main(arguments: Sequence[str]) -> int:
    """Run one measurement; without a name, say which there are."""
    if not arguments or arguments[0] not in names():
        print("manage.py bench NAME [--help]; there are:", file=sys.stderr)
        for name in names():
            first_line = str(import_module(f"bench.{name}").__doc__).splitlines()[0]
            print(f"  {name:11} {first_line}", file=sys.stderr)
        return 2
    return int(import_module(f"bench.{arguments[0]}").main(arguments[1:]))


def names() -> list[str]:
    """Return what may be run."""
    return sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))

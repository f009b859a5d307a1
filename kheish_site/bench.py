"""``manage.py bench NAME``: measure the service on this machine; see ``bench/``."""

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent.parent / "bench"


def main(arguments: Sequence[str]) -> int:
    """Run one measurement; without a name, say which there are."""
    names = sorted(file.stem for file in FOLDER.glob("*.py") if not file.stem.startswith("_"))
    if not arguments or arguments[0] not in names:
        print(f"manage.py bench NAME; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    return int(import_module(f"bench.{arguments[0]}").main(arguments[1:]))

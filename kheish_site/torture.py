"""``manage.py torture``: kill, freeze, cut and race the real thing, then judge it; see ``tests/torture``."""

from collections.abc import Sequence
from importlib import import_module


def main(arguments: Sequence[str]) -> int:
    """Run it; 0 when every invariant held and every crash point killed somebody."""
    return int(import_module("tests.torture.command").main(arguments))

"""``manage.py serve``: a small parent that keeps the service alive. Standard library only, no Django.

Reading order: ``options`` (arguments and environment), ``state`` (one service a state folder), ``children``
(a process that is restarted), ``preparation`` and ``readiness``, ``service`` (start, watch, drain), ``words``
(what people read).
"""

from collections.abc import Sequence

from kheish_site.supervisor.options import Refused, read_options
from kheish_site.supervisor.service import Service
from kheish_site.supervisor.words import say

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Serve until asked to stop. 0 after a drained stop, 1 when the start failed, 2 for bad usage."""
    try:
        return Service(read_options(arguments)).run()
    except Refused as refusal:
        say(str(refusal))
        return 1

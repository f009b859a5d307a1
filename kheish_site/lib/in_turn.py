"""Periodic work over many items, where what is wrong with one must not keep it from the others."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from kheish_site.lib.transactions import AWAY

logger = logging.getLogger(__name__)
_T = TypeVar("_T")


def each(items: Iterable[_T], do: Callable[[_T], int], *, action: str, seconds: float = math.inf) -> int:
    """Do ``do`` with every item and return the sum of what it returns; one that fails is logged and counts 0.

    ``do`` opens its own transaction. When ``seconds`` are over the rest is left for the next time.
    Raises: AWAY; the others would fare no better.
    """
    done, until = 0, time.monotonic() + seconds
    for item in items:
        if time.monotonic() >= until:
            break
        try:
            done += do(item)
        except AWAY:
            raise
        except Exception:  # the edge of each item
            logger.exception("one was left out", extra={"action": action, "item": str(item)})
    return done

"""Database reads for the event loop: a few threads for all streams, never a connection per stream."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from kheish_site.lib.transactions import release_connection

_T = TypeVar("_T")
_THREADS: Final = ThreadPoolExecutor(max_workers=3, thread_name_prefix="kheish-streams")


async def in_reader(read: Callable[[], _T]) -> _T:
    """Run ``read`` in a reader thread; its connection goes back when it returns."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _run, read)


def _run(read: Callable[[], _T]) -> _T:
    try:
        return read()
    finally:
        release_connection()

"""Short requests in a pool of threads that stay, instead of a fresh thread and connection for each.

Django's ASGI handler gives every request a thread of its own, hops into it once for each middleware, and
opens a database connection there: more work than the request itself. The API's short requests are plain
synchronous code, so they run whole, in one hop, in a thread whose SQLite connection outlives them. What
waits long by design (streams, ``Prefer: wait``) and everything outside the API stays with Django's handler.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.db import reset_queries
from django.urls import set_script_prefix

from kheish_site.lib.addresses import API
from kheish_site.lib.http import Asgi
from kheish_site.lib.transactions import leave_connection

THREADS: Final = 16
SLOW: Final = (
    "/v1/assets",
    "/v1/observation",
    "/v1/connectors/external/",
    "/v1/connectors/slack/",
    "/v1/connectors/telegram/",
)
"""What opens files or asks a platform before it answers."""
LARGEST_BODY_BYTES: Final = 65_536
"""A larger body may hold files, which are opened before the answer."""
LONG: Final = ("/stream", "/export", "/raw")
"""Last parts of the addresses whose answers are sent piece by piece."""


class PooledHandler(ASGIHandler):
    """Django's handler with its synchronous middleware, called in one of ``THREADS`` threads."""

    def __init__(self) -> None:
        super(ASGIHandler, self).__init__()
        self.load_middleware(is_async=False)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Read the body, answer in a thread, send."""
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        try:
            request, refusal = self.create_request(scope, body)
            answer: Any = refusal
            if request is not None:
                loop = asyncio.get_running_loop()
                answer = await loop.run_in_executor(self._pool, self._answer, request)
            await self.send_response(answer, send)
        finally:
            body.close()

    def _answer(self, request: Any) -> Any:
        set_script_prefix(get_script_prefix(request.scope))
        if settings.DEBUG:
            reset_queries()
        try:
            return self.get_response(request)
        finally:
            leave_connection()


def short_requests(pooled: Asgi, others: Asgi) -> Asgi:
    """Return the application that lets ``pooled`` answer the API's short requests and ``others`` the rest."""

    async def choose(scope: Any, receive: Any, send: Any) -> None:
        await (pooled if _is_short(scope) else others)(scope, receive, send)

    return choose


def _is_short(scope: Any) -> bool:
    path: str = scope["path"]
    if not path.startswith(API) or path.startswith(SLOW) or path.endswith(LONG):
        return False
    headers = {name.lower(): value for name, value in scope["headers"]}
    size = headers.get(b"content-length", b"0")
    small = size.isdigit() and int(size) <= LARGEST_BODY_BYTES and b"transfer-encoding" not in headers
    return small and b"prefer" not in headers

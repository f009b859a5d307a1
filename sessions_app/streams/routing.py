"""The addresses of the WebSockets."""

from typing import Any

from channels.routing import URLRouter
from django.urls import path, re_path

from sessions_app.streams.consumers import StreamConsumer


async def _refuse(scope: Any, receive: Any, send: Any) -> Any:
    """Close before the handshake, which the client sees as 403: there is no socket here."""
    await receive()
    await send({"type": "websocket.close"})


application = URLRouter([path("ws/v1", StreamConsumer.as_asgi()), re_path(r"", _refuse)])

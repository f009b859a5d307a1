"""The images of a request: loaded for the route that is about to be asked, if its model reads images.

A folded conversation only names them. The text of a message names them too, so a route that takes none
still knows what was attached.
"""

import logging
from dataclasses import replace
from typing import Final

from kheish_site.lib.errors import KheishError
from sessions_app.providers.base import ImagePart, Message, Request
from sessions_app.services import assets

logger = logging.getLogger(__name__)
MOST: Final = 20
"""Images one request holds, the newest: servers limit the number and the size of a body."""
LOST: Final = "[{} could not be read and is not shown]"


def without(request: Request) -> Request:
    """Return the request with its texts alone."""
    if not any(message.images for message in request.messages):
        return request
    return replace(request, messages=tuple(replace(message, images=()) for message in request.messages))


def loaded(request: Request) -> Request:
    """Return the request with the newest images in it. Reads the database, and only when there are some."""
    if not any(message.images for message in request.messages):
        return request
    left, messages = MOST, list[Message]()
    for message in reversed(request.messages):
        wanted = message.images[:left]
        left -= len(wanted)
        messages.append(_filled(message, wanted) if message.images else message)
    return replace(request, messages=tuple(reversed(messages)))


def _filled(message: Message, wanted: tuple[ImagePart, ...]) -> Message:
    """Load what can be loaded; a broken image costs its place in one message, not the run."""
    parts, content = list[ImagePart](), message.content
    for part in wanted:
        try:
            media_type, data = assets.image_for_model(assets.get(part.asset_id))
        except KheishError as error:
            logger.error("image lost", extra={"action": "engine.image", "asset_id": part.asset_id,
                                              "code": error.error_code})  # fmt: skip
            content += "\n" + LOST.format(part.asset_id)
        else:
            parts.append(replace(part, media_type=media_type, data=data))
    return replace(message, content=content, images=tuple(parts))

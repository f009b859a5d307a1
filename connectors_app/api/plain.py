"""Answers in plain text, for programs that read gauges."""

import json
from typing import Any

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class PlainText(BaseRenderer):
    """Text as it is; problems stay JSON."""

    media_type = "text/plain"
    format = "txt"
    charset = "utf-8"

    def render(self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None) -> bytes:
        """Return the bytes of a text or of a problem document."""
        return (data if isinstance(data, str) else json.dumps(data)).encode()


class OnlyAnswer(DefaultContentNegotiation):
    """There is one form of the answer, whatever a client would like best."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: Any = None) -> Any:
        """Return it."""
        return renderers[0], renderers[0].media_type

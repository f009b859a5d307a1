"""What nobody else answers under ``/v1``."""

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from kheish_site.lib.errors import NotFound


class UnknownPath(APIView):
    """404 for every method on every unknown path, signed in or not."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    schema = None

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer any method alike."""
        if request.method != "HEAD":
            request.method = "GET"
        return super().dispatch(request, *args, **kwargs)

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Refuse."""
        raise NotFound(f"nothing answers at {request.path}", code="api/route_not_found")

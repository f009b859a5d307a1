"""The state of the installation and what this version can do."""

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import config_examples as examples
from sessions_app.api.schema import describe
from sessions_app.api.serializers import runtime as shapes
from sessions_app.api.views.base import KheishView
from sessions_app.services import status


class Status(KheishView):
    """``/v1/status``."""

    @describe(
        "status_get", "Get the state of the installation", answer=shapes.StatusView, example=examples.STATUS
    )
    def get(self, request: Request) -> Response:
        """Who works, what waits, what to look at."""
        return Response(status.status())


class Capabilities(KheishView):
    """``/v1/capabilities``."""

    @describe(
        "capabilities_get", "Get what this version can do", answer=shapes.CapabilitiesView,
        example=status.capabilities(),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Versions and features."""
        return Response(status.capabilities())

"""The OpenAPI document and the page that shows it, both served from the box."""

from functools import cache
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class OpenApiDocument(APIView):
    """``/v1/openapi.json``, open to all: it says nothing about this installation."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()
    metadata_class = None
    schema = None

    def get(self, request: Request) -> Response:
        """Return the document."""
        return Response(openapi_document(), headers={"Cache-Control": "max-age=60"})


@cache
def openapi_document() -> Any:
    """Return the OpenAPI 3.1 document; made once a process, since only a new version changes it."""
    return SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]


class Documentation(SpectacularSwaggerSplitView):
    """``/docs/``: Swagger without inline script or style, so that the content policy stays strict."""

    url_name = "openapi"
    template_name = "sessions_app/api_docs.html"
    throttle_classes = ()

"""Finding anything by id, by a name other systems know it by, or by words."""

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import examples
from sessions_app.api.schema import describe
from sessions_app.api.serializers import search as shapes
from sessions_app.api.views.base import KheishView
from sessions_app.services import search


class Search(KheishView):
    """``/v1/search``."""

    query_serializer = shapes.SearchQuery

    @describe(
        "search",
        "Find anything by id, outside name or words",
        answer=shapes.SearchView,
        example=examples.SEARCH,
        description=(
            "Ids and their beginnings, idempotency keys, event keys, binding keys and ids of platforms are "
            "looked up; words are looked for in the newest `text_window` runs and sessions."
        ),
    )
    def get(self, request: Request) -> Response:
        """What was found, best first."""
        query = self.query
        found = search.search(query["q"], principal=self.principal, limit=query["limit"])
        return Response(found.view())

"""Routes to models."""

from typing import Any
from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import config_examples as examples
from sessions_app.api.etags import etag, expected_revisions
from sessions_app.api.idempotency import idempotent
from sessions_app.api.problems import InvalidRequest
from sessions_app.api.schema import describe
from sessions_app.api.serializers import routes as shapes
from sessions_app.api.serializers.base import PageQuery, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role, Route
from sessions_app.services import routes
from sessions_app.services.projections.configuration import route_views
from sessions_app.services.routes import RouteFields


class Routes(KheishView):
    """``/v1/routes``."""

    write_role = Role.ADMIN
    query_serializer = PageQuery

    @describe(
        "routes_list", "List routes by id", answer=page_of(shapes.RouteView),
        example=examples.page_of(examples.ROUTE),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of routes with their readiness."""
        return self.page(routes.everything(), route_views, key="route_id", order="asc")

    @describe(
        "routes_create", "Make a route", status=201, body=shapes.NewRoute, answer=shapes.RouteView,
        body_example=examples.NEW_ROUTE, example=examples.ROUTE,
        description="The first route becomes the default, as does any with `default: true`.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Create."""
        body = self.body(shapes.NewRoute)
        route_id, default = body.pop("route_id"), body.pop("default", False)
        return _answer(routes.create(route_id, RouteFields(**body), default=default), status=201)


class OneRoute(KheishView):
    """``/v1/routes/{route_id}``."""

    write_role = Role.ADMIN

    @describe("routes_get", "Get a route", answer=shapes.RouteView, example=examples.ROUTE)
    def get(self, request: Request, route_id: str) -> Response:
        """The route; its revision is the ETag."""
        return _answer(routes.get(route_id))

    @describe(
        "routes_update", "Change a route", body=shapes.RouteChanges, answer=shapes.RouteView, if_match=True,
        body_example={"model": "gpt-4o"}, example=examples.ROUTE,
        description="Absent members stay as they are. Runs keep the route and model they were created with.",
    )  # fmt: skip
    def put(self, request: Request, route_id: str) -> Response:
        """Update."""
        expected = expected_revisions(request)
        changes = self.body(shapes.RouteChanges)
        if not changes:
            raise InvalidRequest("there is nothing to change")
        return _answer(routes.update(route_id, changes, expected=expected))

    @describe(
        "routes_delete", "Delete a route", status=204, answer=None, if_match=True,
        description="Runs that pinned it will fail. 409 while it is a fallback, or the default of several.",
    )  # fmt: skip
    def delete(self, request: Request, route_id: str) -> Response:
        """Delete."""
        routes.delete(route_id, expected=expected_revisions(request))
        return Response(status=204)


def _answer(route: Route, *, status: int = 200) -> Response:
    headers: dict[str, Any] = {"ETag": etag(route.revision)}
    if status == 201:
        headers["Location"] = f"/v1/routes/{quote(route.route_id, safe='')}"
    return Response(route_views([route])[0], status=status, headers=headers)

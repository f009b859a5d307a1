"""Connectors over HTTP: the control plane's side. Events come in elsewhere, in each kind's folder."""

from dataclasses import asdict
from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api import examples, shapes
from connectors_app.models import Connector
from connectors_app.services import connectors, connectors_file, ingress, resolution
from connectors_app.services.projections import connector_views
from sessions_app.api.config_examples import page_of as page_example
from sessions_app.api.etags import etag, expected_revisions
from sessions_app.api.idempotency import idempotent
from sessions_app.api.problems import InvalidRequest
from sessions_app.api.schema import describe
from sessions_app.api.serializers.base import NoBody, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role


class Connectors(KheishView):
    """``/v1/runtime/connectors``."""

    query_serializer = shapes.ConnectorQuery

    @describe(
        "connectors_list", "List connectors, newest first", answer=page_of(shapes.ConnectorView),
        example=page_example(examples.CONNECTOR),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of connectors."""
        rows = connectors.everything()
        if kind := self.query.get("kind"):
            rows = rows.filter(kind=kind)
        return self.page(rows, connector_views)


class OneConnector(KheishView):
    """``/v1/runtime/connectors/{kind}/{name}``."""

    write_role = Role.ADMIN

    @describe("connectors_get", "Get a connector", answer=shapes.ConnectorView, example=examples.CONNECTOR)
    def get(self, request: Request, kind: str, name: str) -> Response:
        """The connector; its revision is the ETag."""
        return _answer(connectors.get(kind, name))

    @describe(
        "connectors_put", "Write a connector", body=shapes.ConnectorBody, answer=shapes.ConnectorView,
        body_example=examples.BODY, example=examples.CONNECTOR, answers={201: shapes.ConnectorView},
        description=(
            "Makes the connector or changes it; absent members keep their stored value. It is judged whole "
            "before anything changes, and holds from the next event on. `If-Match` is optional."
        ),
    )  # fmt: skip
    def put(self, request: Request, kind: str, name: str) -> Response:
        """Upsert."""
        check_name(name)
        body = self.body(shapes.ConnectorBody)
        expected = expected_revisions(request) if request.headers.get("If-Match") else None
        row, created = connectors.put(
            kind,
            name,
            body.get("settings", {}),
            body.get("secrets", {}),
            principal=self.principal.name,
            expected=expected,
        )
        return _answer(row, status=201 if created else 200)

    @describe(
        "connectors_delete", "Remove a connector", status=204, answer=None,
        description=(
            "409 for one that the connectors file names, and while another or a schedule answers through it. "
            "Sessions lose it from their default reply targets."
        ),
    )  # fmt: skip
    def delete(self, request: Request, kind: str, name: str) -> Response:
        """Remove."""
        connectors_file.remove(kind, name)
        return Response(status=204)


class _Switch(KheishView):
    write_role = Role.OPERATOR


class Pause(_Switch):
    """``…/pause``."""

    @describe(
        "connectors_pause", "Pause a connector", body=NoBody, answer=shapes.ConnectorView,
        example=examples.CONNECTOR,
        description="Events are answered 503 with `Retry-After`, so that their senders come back.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, kind: str, name: str) -> Response:
        """Pause."""
        self.body(NoBody)
        return _answer(connectors.set_paused(kind, name, True, principal=self.principal.name))


class Resume(_Switch):
    """``…/resume``."""

    @describe(
        "connectors_resume", "Let a paused connector go on", body=NoBody, answer=shapes.ConnectorView,
        example=examples.CONNECTOR,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, kind: str, name: str) -> Response:
        """Resume."""
        self.body(NoBody)
        return _answer(connectors.set_paused(kind, name, False, principal=self.principal.name))


class Enable(KheishView):
    """``…/enable``."""

    write_role = Role.ADMIN

    @describe(
        "connectors_enable", "Switch a connector on", body=NoBody, answer=shapes.ConnectorView,
        example=examples.CONNECTOR,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, kind: str, name: str) -> Response:
        """Enable."""
        self.body(NoBody)
        return _answer(connectors.set_enabled(kind, name, True))


class Disable(KheishView):
    """``…/disable``."""

    write_role = Role.ADMIN

    @describe(
        "connectors_disable", "Switch a connector off", body=NoBody, answer=shapes.ConnectorView,
        example=examples.CONNECTOR, description="Events are refused with 409.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, kind: str, name: str) -> Response:
        """Disable."""
        self.body(NoBody)
        return _answer(connectors.set_enabled(kind, name, False))


class TestEvent(KheishView):
    """``…/test``."""

    @describe(
        "connectors_test", "Send a test event through a connector", status=202, body=shapes.TestBody,
        answer=shapes.TestView, body_example={"dry_run": False}, example=examples.TEST,
        answers={200: shapes.TestView},
        description=(
            "Takes a real event's way from target resolution on; 200 and no run with `dry_run`. `event` is "
            "what a sender would say (kinds http and external); without it the kind's own test event is sent."
        ),
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, kind: str, name: str) -> Response:
        """Try the way in."""
        body = self.body(shapes.TestBody)
        connector = connectors.admitted(kind, name)
        event = connectors.trial(connector, body.get("event"))
        target = resolution.resolve(connector, event)
        shown = {"session_id": target.session_id, "found_by": target.found_by}
        if body["dry_run"]:
            return Response(shown)
        return Response(shown | {"run_id": ingress.accept(connector, event).run.run_id}, status=202)


class Reload(KheishView):
    """``/v1/runtime/connectors/reload``."""

    write_role = Role.ADMIN

    @describe(
        "connectors_reload", "Load the connectors file again", body=NoBody, answer=shapes.ReloadView,
        example={"file": "/etc/kheish/connectors.toml", "written": ["http/alerts"], "removed": []},
        description="The workers also notice a changed file by themselves. 400 names file and line.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Reload."""
        self.body(NoBody)
        applied = connectors_file.reload()
        return Response(asdict(applied))


def check_name(name: str) -> None:
    """Refuse names that cannot stand in an address or a key. Raises: InvalidRequest."""
    if not connectors.is_name(name):
        raise InvalidRequest("a connector's name has 1 to 100 letters, digits and . _ -")


def _answer(row: Connector, *, status: int = 200) -> Response:
    headers: dict[str, Any] = {"ETag": etag(row.revision)}
    if status == 201:
        headers["Location"] = f"/v1/runtime/connectors/{row.kind}/{row.name}"
    return Response(connector_views([row])[0], status=status, headers=headers)

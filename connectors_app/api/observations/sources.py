"""Observation sources, their tokens and their schedules."""

from typing import Any
from urllib.parse import quote

from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.observations import examples, shapes
from connectors_app.models import ObservationSource
from connectors_app.services.observations import schedules, source_tokens, sources
from connectors_app.services.observations.projections import schedule_views, source_views, token_view
from connectors_app.services.observations.schedules import NewSchedule
from connectors_app.services.observations.sources import SourceFields
from sessions_app.api.config_examples import page_of as page_example
from sessions_app.api.etags import etag, expected_revisions
from sessions_app.api.idempotency import idempotent, idempotent_secret
from sessions_app.api.problems import InvalidRequest
from sessions_app.api.schema import describe
from sessions_app.api.serializers.base import NoBody, PageQuery, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role


class Sources(KheishView):
    """``/v1/observation-sources``."""

    write_role = Role.ADMIN
    query_serializer = PageQuery

    @describe(
        "observation_sources_list", "List observation sources by id", answer=page_of(shapes.SourceView),
        example=page_example(examples.SOURCE),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of sources."""
        return self.page(sources.everything(), source_views, key="source_id", order="asc")

    @describe(
        "observation_sources_create", "Make an observation source", status=201, body=shapes.NewSource,
        answer=shapes.NewSourceView, body_example=examples.NEW_SOURCE, example=examples.MADE,
        description="The answer holds the source's upload token, this once. It does nothing but upload.",
    )  # fmt: skip
    @idempotent_secret
    def post(self, request: Request) -> Response:
        """Create."""
        body = self.body(shapes.NewSource)
        source_id, kind = body.pop("source_id"), body.pop("kind")
        made, secret = sources.create(source_id, kind, SourceFields(**body), principal=self.principal.name)
        answer = _answer(made, status=201)
        answer.data["token"] = secret
        return answer


class OneSource(KheishView):
    """``/v1/observation-sources/{source_id}``."""

    write_role = Role.ADMIN

    @describe(
        "observation_sources_get", "Get an observation source", answer=shapes.SourceView,
        example=examples.SOURCE,
    )  # fmt: skip
    def get(self, request: Request, source_id: str) -> Response:
        """The source; its revision is the ETag."""
        return _answer(sources.get(source_id))

    @describe(
        "observation_sources_update", "Change an observation source", body=shapes.SourceChanges,
        answer=shapes.SourceView, if_match=True, body_example={"retention_days": 1}, example=examples.SOURCE,
        description="Absent members stay as they are. Holds from the next upload and the next purge on.",
    )  # fmt: skip
    def put(self, request: Request, source_id: str) -> Response:
        """Update."""
        expected = expected_revisions(request)
        changes = self.body(shapes.SourceChanges)
        if not changes:
            raise InvalidRequest("there is nothing to change")
        return _answer(sources.update(source_id, changes, expected=expected))

    @describe(
        "observation_sources_delete", "Delete an observation source", status=204, answer=None, if_match=True,
        description="Its tokens, schedules and observations go with it; runs made from them stay.",
    )  # fmt: skip
    def delete(self, request: Request, source_id: str) -> Response:
        """Delete."""
        sources.delete(source_id, expected=expected_revisions(request))
        return Response(status=204)


class RotateToken(KheishView):
    """``/v1/observation-sources/{source_id}/rotate-token``."""

    write_role = Role.ADMIN

    @describe(
        "observation_sources_rotate_token", "Make a new upload token", body=shapes.RotateBody,
        answer=shapes.RotatedView, body_example={"grace_period_ms": 60_000}, example=examples.ROTATED,
        description="The tokens before it hold for the grace period; without one they end now.",
    )  # fmt: skip
    @idempotent_secret
    def post(self, request: Request, source_id: str) -> Response:
        """Rotate."""
        source = sources.get(source_id)
        token, secret = source_tokens.rotate(
            source, principal=self.principal.name, **self.body(shapes.RotateBody)
        )
        return Response({**token_view(token), "source_id": source.source_id, "token": secret})


class RevokeToken(KheishView):
    """``/v1/observation-sources/{source_id}/revoke-token``."""

    write_role = Role.ADMIN

    @describe(
        "observation_sources_revoke_token", "End every upload token of a source", body=NoBody,
        answer=shapes.RevokedView, body_example={}, example=examples.REVOKED,
        description="At once and for good. Repeating changes nothing; rotating makes a new one.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, source_id: str) -> Response:
        """Revoke."""
        self.body(NoBody)
        source = sources.get(source_id)
        return Response({"source_id": source.source_id, "revoked": source_tokens.revoke(source)})


class Schedules(KheishView):
    """``/v1/observation-sources/{source_id}/schedules``."""

    query_serializer = PageQuery

    @describe(
        "observation_schedules_list", "List a source's schedules, newest first",
        answer=page_of(shapes.ScheduleView), example=page_example(examples.SCHEDULE),
    )  # fmt: skip
    def get(self, request: Request, source_id: str) -> Response:
        """One page of schedules."""
        return self.page(schedules.everything(sources.get(source_id)), schedule_views)

    @describe(
        "observation_schedules_create", "Show a source to an agent every so often", status=201,
        body=shapes.ScheduleBody, answer=shapes.ScheduleView, body_example=examples.NEW_SCHEDULE,
        example=examples.SCHEDULE,
        description=(
            "Fires first after one interval; each fire is exactly one run. Missed fires are made up for by "
            "one, and a fire waits while the run before it has not ended."
        ),
    )  # fmt: skip
    @idempotent
    def post(self, request: Request, source_id: str) -> Response:
        """Create."""
        new = NewSchedule(**self.body(shapes.ScheduleBody))
        made = schedules.create(sources.get(source_id), new, principal=self.principal.name)
        return Response(schedule_views([made])[0], status=201)


class OneSchedule(KheishView):
    """``/v1/observation-sources/{source_id}/schedules/{schedule_id}``."""

    @describe(
        "observation_schedules_delete", "Delete a schedule", status=204, answer=None,
        description="Runs it has made stay.",
    )  # fmt: skip
    def delete(self, request: Request, source_id: str, schedule_id: str) -> Response:
        """Delete."""
        schedules.delete(sources.get(source_id), schedule_id)
        return Response(status=204)


def _answer(source: ObservationSource, *, status: int = 200) -> Response:
    headers: dict[str, Any] = {"ETag": etag(source.revision)}
    if status == 201:
        headers["Location"] = f"/v1/observation-sources/{quote(source.source_id, safe='')}"
    return Response(source_views([source])[0], status=status, headers=headers)

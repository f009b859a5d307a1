"""A source's observations: uploaded by its device, read by people."""

from functools import partial
from typing import Any, Final

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from connectors_app.api.observations import examples, shapes
from connectors_app.api.observations.auth import Device, OwnSource, SourceTokenAuthentication
from connectors_app.services.observations import retention, sources, uploads
from connectors_app.services.observations.projections import observation_view, observation_views
from connectors_app.services.observations.uploads import Upload
from kheish_site.lib.errors import BadRequest
from sessions_app.api.config_examples import page_of as page_example
from sessions_app.api.idempotency import keyed, read_key
from sessions_app.api.schema import describe
from sessions_app.api.serializers.base import page_of
from sessions_app.api.uploads import RawUploadParser, UploadJSONParser
from sessions_app.api.uploads import Upload as FileBody
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role
from sessions_app.services import assets

HEADERS: Final = {
    "stream_id": "Kheish-Stream-Id",
    "capture_group_id": "Kheish-Capture-Group-Id",
    "captured_at": "Kheish-Captured-At",
}
_PARAMETERS: Final = [
    OpenApiParameter(
        header,
        OpenApiTypes.STR,
        OpenApiParameter.HEADER,
        description=f"`{name}` of a file that is the body itself.",
    )
    for name, header in (*HEADERS.items(), ("file_name", "X-File-Name"))
]


class Observations(KheishView):
    """``/v1/observation-sources/{source_id}/observations``.

    Reading is for API tokens, uploading for the source's own token alone.
    """

    query_serializer = shapes.ObservationQuery
    parser_classes = [UploadJSONParser, RawUploadParser]

    def get_authenticators(self) -> list[Any]:
        """An upload knows one kind of caller, everything else the usual ones."""
        return [SourceTokenAuthentication()] if self._uploads else super().get_authenticators()

    def get_permissions(self) -> Any:
        """A device may upload to its own source; the rest goes by roles."""
        return [OwnSource()] if self._uploads else super().get_permissions()

    @property
    def _uploads(self) -> bool:
        return self.request is not None and self.request.method == "POST"

    @describe(
        "observations_list", "List a source's observations, newest first",
        answer=page_of(shapes.ObservationView), example=page_example(examples.OBSERVATION),
    )  # fmt: skip
    def get(self, request: Request, source_id: str) -> Response:
        """One page of observations."""
        rows = uploads.listing(sources.get(source_id), include_purged=self.query["include_purged"])
        for name in ("stream_id", "capture_group_id"):
            if name in self.query:
                rows = rows.filter(**{name: self.query[name]})
        return self.page(rows, partial(observation_views, principal=self.principal))

    @describe(
        "observations_upload",
        "Upload an observation",
        status=201,
        body=shapes.UploadBody,
        answer=shapes.ObservationView,
        answers={200: shapes.ObservationView},
        body_example=examples.UPLOAD,
        example=examples.OBSERVATION,
        parameters=_PARAMETERS,
        description=(
            "With the source's own `ko_…` token, and a key. As JSON, or with any other Content-Type the file "
            "itself. The same key with the same upload is 200 with the first observation, with another 409."
        ),
    )
    @keyed
    def post(self, request: Request, source_id: str) -> Response:
        """Upload."""
        device = request.auth
        assert isinstance(device, Device)
        key = read_key(request)
        if not key:
            raise BadRequest(
                "an upload needs an Idempotency-Key", code="observation_key_missing", domain="observations"
            )
        observation, repeated = uploads.accept(device.source, self._upload(key))
        view = observation_view(observation, device)
        if repeated:
            return Response(view, headers={"Idempotent-Replayed": "true"})
        location = f"/v1/observations/{observation.observation_id}"
        return Response(view, status=201, headers={"Location": location})

    def _upload(self, key: str) -> Upload:
        data = self.request.data
        if not isinstance(data, FileBody):
            body = self.body(shapes.UploadBody)
            return Upload(key=key, data=assets.from_base64(body.pop("content_base64")), **body)
        headers = self.request.headers
        said = {name: headers[header] for name, header in HEADERS.items() if header in headers}
        facts = shapes.UploadFacts(data={"file_name": data["file_name"], **said})
        facts.is_valid(raise_exception=True)
        return Upload(key=key, data=data.content, media_type=data["media_type"], **facts.validated_data)


class OneObservation(KheishView):
    """``/v1/observations/{observation_id}``."""

    write_role = Role.ADMIN

    @describe(
        "observations_get", "Get an observation", answer=shapes.ObservationView, example=examples.OBSERVATION,
        description="Purged ones too. Its file is an asset; this answer holds no content.",
    )  # fmt: skip
    def get(self, request: Request, observation_id: str) -> Response:
        """The observation."""
        return Response(observation_view(uploads.get(observation_id), self.principal))

    @describe(
        "observations_purge", "Purge an observation before its time", answer=shapes.ObservationView,
        example={**examples.OBSERVATION, "purged_at": "2026-11-21T10:07:26.123Z", "purge_reason": "request"},
        description="409 unless its source allows it. Runs that were shown it keep their own reference.",
    )  # fmt: skip
    def delete(self, request: Request, observation_id: str) -> Response:
        """Purge."""
        found = retention.purge_one(observation_id, principal=self.principal.name)
        return Response(observation_view(found, self.principal))

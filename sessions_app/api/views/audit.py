"""The ledger of external actions: lists, exports, and the key that verifies them."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response

from kheish_site.lib import action_chain
from sessions_app.api import examples, filters
from sessions_app.api.lines import LinesRenderer, LinesResponse
from sessions_app.api.schema import describe
from sessions_app.api.serializers import audit as shapes
from sessions_app.api.serializers.base import PageQuery, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import ExternalAction, Role
from sessions_app.services import audit, evidence, external_actions

_LINES = (
    "One canonical JSON record (RFC 8785) a line, then one signed checkpoint. Check it offline: "
    "`audit verify FILE --public-key KEY`."
)


def _views(rows: Any) -> list[dict[str, Any]]:
    return [external_actions.document(row) for row in rows]


class ExternalActions(KheishView):
    """``/v1/external-actions``."""

    query_serializer = shapes.ActionQuery

    @describe(
        "external_actions_list",
        "List signed records of external actions, newest first",
        answer=page_of(shapes.ExternalActionView),
        example=examples.page(examples.EXTERNAL_ACTION),
    )
    def get(self, request: Request) -> Response:
        """One page of records."""
        rows = filters.narrow(filters.ExternalActionFilter, self.query, ExternalAction.objects.all())
        return self.page(rows, _views)


class RunExternalActions(KheishView):
    """``/v1/runs/{run_id}/external-actions``."""

    query_serializer = PageQuery

    @describe(
        "runs_external_actions",
        "List a run's external actions, oldest first",
        answer=page_of(shapes.ExternalActionView),
        example=examples.page(examples.EXTERNAL_ACTION, order="asc"),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """One page of records."""
        return self.page(evidence.of_run(run_id), _views, key="seq", order="asc")


class SessionExternalActions(KheishView):
    """``/v1/sessions/{session_id}/external-actions``."""

    query_serializer = PageQuery

    @describe(
        "sessions_external_actions",
        "List a session's external actions, oldest first",
        answer=page_of(shapes.ExternalActionView),
        example=examples.page(examples.EXTERNAL_ACTION, order="asc"),
    )
    def get(self, request: Request, session_id: str) -> Response:
        """One page of records."""
        return self.page(evidence.of_session(session_id), _views, key="seq", order="asc")


class SessionExternalActionsExport(KheishView):
    """``/v1/sessions/{session_id}/external-actions/export``."""

    renderer_classes = (LinesRenderer,)

    @describe(
        "sessions_external_actions_export",
        "Export a session's signed records",
        answer=OpenApiTypes.STR,
        description=_LINES,
    )
    def get(self, request: Request, session_id: str) -> LinesResponse:
        """All lines, as they are read."""
        evidence.of_session(session_id)
        return _export(external_actions.bucket_of(session_id))


class ExternalActionsExport(KheishView):
    """``/v1/external-actions/export``."""

    renderer_classes = (LinesRenderer,)
    query_serializer = shapes.ExportQuery

    @describe(
        "external_actions_export",
        "Export the signed records of a chain",
        answer=OpenApiTypes.STR,
        description=_LINES,
    )
    def get(self, request: Request) -> LinesResponse:
        """All lines, as they are read."""
        bucket = self.query.get("bucket", external_actions.UNSCOPED)
        evidence.check_bucket(bucket)
        return _export(bucket)


class AuditLog(KheishView):
    """``/v1/audit-log``."""

    read_role = Role.ADMIN
    query_serializer = shapes.AuditLogQuery

    @describe(
        "audit_log_list",
        "List what people and tokens changed outside sessions, newest first",
        answer=page_of(shapes.AuditEntryView),
        example=examples.page(examples.AUDIT_ENTRY),
        description=(
            "Configuration, credentials, people, and looks at what is masked. What happens to a session, a "
            "run or an approval is in the session's journal."
        ),
    )
    def get(self, request: Request) -> Response:
        """One page of entries."""
        rows = filters.narrow(filters.AuditLogFilter, self.query, audit.everything())
        return self.page(rows, lambda found: [audit.view(row) for row in found])


class AuditKey(KheishView):
    """``/v1/runtime/audit-key``."""

    @describe(
        "audit_key_get",
        "Get the public key that verifies signed records",
        answer=shapes.AuditKeyView,
        example={"signature_alg": "ed25519", "public_key": examples.EXTERNAL_ACTION["key_id"]},
    )
    def get(self, request: Request) -> Response:
        """The key in use."""
        return Response(
            {"signature_alg": action_chain.ALGORITHM, "public_key": external_actions.public_key()}
        )


def _export(bucket: str) -> LinesResponse:
    name = "".join(char if (char.isascii() and char.isalnum()) or char in "-_." else "-" for char in bucket)
    return LinesResponse(external_actions.export(bucket), file_name=f"external-actions-{name}.jsonl")

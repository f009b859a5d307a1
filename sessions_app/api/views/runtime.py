"""The daemon's live settings, and permission decisions explained."""

from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import config_examples as examples
from sessions_app.api.idempotency import idempotent
from sessions_app.api.schema import describe
from sessions_app.api.serializers import runtime as shapes
from sessions_app.api.serializers.base import PageQuery, page_of
from sessions_app.api.views.base import KheishView
from sessions_app.models import Role
from sessions_app.services import permission_explain, runtime_settings
from sessions_app.services.projections.configuration import runtime_revision_view, runtime_view
from sessions_app.services.runtime_settings import Setting


class Runtime(KheishView):
    """``/v1/runtime``."""

    @describe("runtime_get", "Get the live settings", answer=shapes.RuntimeView, example=examples.RUNTIME)
    def get(self, request: Request) -> Response:
        """The settings in force."""
        return Response(runtime_view())


class _Change(KheishView):
    """A setting that is replaced as a whole; the answer is all settings after it."""

    write_role = Role.ADMIN
    setting: ClassVar[Setting]
    shape: ClassVar[type[shapes.Revisioned]]

    def change(self) -> Response:
        """Parse and change. Raises as ``runtime_settings.change``."""
        body = self.body(self.shape)
        expected = body.pop("expected_revision", None)
        runtime_settings.change(self.setting, body, expected_revision=expected, principal=self.principal.name)
        return Response(runtime_view())


class RuntimeModel(_Change):
    """``/v1/runtime/model``."""

    setting, shape = "model", shapes.ModelBody

    @describe(
        "runtime_set_model", "Set the default route and its model", body=shapes.ModelBody,
        answer=shapes.RuntimeView, body_example={"route_id": "main", "model": "gpt-4o"},
        example=examples.RUNTIME,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Change."""
        return self.change()


class RuntimePermissionMode(_Change):
    """``/v1/runtime/permission-mode``."""

    setting, shape = "permission-mode", shapes.ModeBody

    @describe(
        "runtime_set_permission_mode", "Set the permission mode", body=shapes.ModeBody,
        answer=shapes.RuntimeView, body_example={"mode": "acceptEdits"}, example=examples.RUNTIME,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Change."""
        return self.change()


class RuntimePermissionRules(_Change):
    """``/v1/runtime/permission-rules``."""

    setting, shape = "permission-rules", shapes.RulesBody

    @describe(
        "runtime_set_permission_rules", "Set the permission rules of the project and user scope",
        body=shapes.RulesBody, answer=shapes.RuntimeView, example=examples.RUNTIME,
        body_example={"project": [{"tool_name_pattern": "web_fetch", "behavior": "ask"}]},
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Change."""
        return self.change()


class RuntimeSystemPrompt(_Change):
    """``/v1/runtime/system-prompt``."""

    setting, shape = "system-prompt", shapes.SystemPromptBody

    @describe(
        "runtime_set_system_prompt", "Set the system prompt", body=shapes.SystemPromptBody,
        answer=shapes.RuntimeView, body_example={"settings": {"append_prompt": "Answer in French."}},
        example=examples.RUNTIME,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Change."""
        return self.change()


class RuntimeUnknownEffects(_Change):
    """``/v1/runtime/unknown-effects``."""

    setting, shape = "unknown-effects", shapes.RuntimeUnknownEffectsBody

    @describe(
        "runtime_set_unknown_effects", "Set what an effect of unknown outcome does in new sessions",
        body=shapes.RuntimeUnknownEffectsBody, answer=shapes.RuntimeView, body_example={"mode": "tell"},
        example=examples.RUNTIME,
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Change."""
        return self.change()


class RuntimeRevisions(KheishView):
    """``/v1/runtime/revisions``."""

    read_role = Role.ADMIN
    query_serializer = PageQuery

    @describe(
        "runtime_revisions_list", "List the revisions of the live settings, newest first",
        answer=page_of(shapes.RuntimeRevisionView), example=examples.page_of(examples.RUNTIME_REVISION),
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """One page of revisions."""
        rows = runtime_settings.revisions()
        return self.page(rows, lambda found: [runtime_revision_view(row) for row in found], key="revision")


class RuntimeRollback(KheishView):
    """``/v1/runtime/rollback``."""

    write_role = Role.ADMIN

    @describe(
        "runtime_rollback", "Put the settings of an older revision in force", body=shapes.RollbackBody,
        answer=shapes.RuntimeView, body_example={"target_revision": 1}, example=examples.RUNTIME,
        description="Appends a revision; history is never rewritten.",
    )  # fmt: skip
    @idempotent
    def post(self, request: Request) -> Response:
        """Roll back."""
        body = self.body(shapes.RollbackBody)
        runtime_settings.rollback(
            body.get("target_revision"),
            expected_revision=body.get("expected_revision"),
            principal=self.principal.name,
        )
        return Response(runtime_view())


class PermissionCheck(KheishView):
    """``/v1/runtime/permissions/check``."""

    write_role = Role.VIEWER

    @describe(
        "permissions_check", "Explain what would happen with a call", body=shapes.CheckBody,
        answer=shapes.CheckView, body_example={"tool_name": "bash", "input": {"command": "uptime"}},
        example=examples.CHECK, description="Nothing is asked, stored or run.",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Explain one call."""
        body = self.body(shapes.CheckBody)
        found = permission_explain.check(
            body["tool_name"],
            arguments=body.get("input"),
            session_id=body.get("session_id", ""),
            mode_override=body.get("mode_override", ""),
        )
        return Response({**found, **{name: body[name] for name in _ECHOED if name in body}})


class PermissionMatrix(KheishView):
    """``/v1/runtime/permissions/matrix``."""

    write_role = Role.VIEWER

    @describe(
        "permissions_matrix", "Explain every tool in every mode", body=shapes.MatrixBody,
        answer=shapes.MatrixView, body_example={}, example=examples.MATRIX,
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Explain all."""
        body = self.body(shapes.MatrixBody)
        return Response({**permission_explain.matrix(**body), **body})


_ECHOED = ("tool_call_id", "session_id")

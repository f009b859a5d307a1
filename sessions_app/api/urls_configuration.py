"""Addresses of the configuration: personas, routes, secrets, tokens, live settings, status."""

from django.urls import path

from sessions_app.api.views import audit, credentials, documents, personas, routes, runtime, status

urlpatterns = [
    path("v1/openapi.json", documents.OpenApiDocument.as_view(), name="openapi"),
    path("v1/status", status.Status.as_view()),
    path("v1/capabilities", status.Capabilities.as_view()),
    path("v1/personas", personas.Personas.as_view()),
    path("v1/personas/<str:persona_id>", personas.OnePersona.as_view()),
    path("v1/routes", routes.Routes.as_view()),
    path("v1/routes/<str:route_id>", routes.OneRoute.as_view()),
    path("v1/tokens", credentials.Tokens.as_view()),
    path("v1/tokens/<str:token_id>", credentials.OneToken.as_view()),
    path("v1/runtime", runtime.Runtime.as_view()),
    path("v1/runtime/audit-key", audit.AuditKey.as_view()),
    path("v1/runtime/secrets", credentials.Secrets.as_view()),
    path("v1/runtime/secrets/<str:slot_id>", credentials.OneSecret.as_view()),
    path("v1/runtime/model", runtime.RuntimeModel.as_view()),
    path("v1/runtime/permission-mode", runtime.RuntimePermissionMode.as_view()),
    path("v1/runtime/permission-rules", runtime.RuntimePermissionRules.as_view()),
    path("v1/runtime/system-prompt", runtime.RuntimeSystemPrompt.as_view()),
    path("v1/runtime/unknown-effects", runtime.RuntimeUnknownEffects.as_view()),
    path("v1/runtime/revisions", runtime.RuntimeRevisions.as_view()),
    path("v1/runtime/rollback", runtime.RuntimeRollback.as_view()),
    path("v1/runtime/permissions/check", runtime.PermissionCheck.as_view()),
    path("v1/runtime/permissions/matrix", runtime.PermissionMatrix.as_view()),
]

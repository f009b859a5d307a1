"""Addresses of what runs: sessions, runs, and what waits for people."""

from django.urls import path

from sessions_app.api.views import assets, runs, session_settings, sessions, tasks, waiting

_SESSION = "v1/sessions/<str:session_id>"

urlpatterns = [
    path("v1/sessions", sessions.Sessions.as_view(), name="sessions"),
    path(_SESSION, sessions.OneSession.as_view(), name="session"),
    path(f"{_SESSION}/end", sessions.SessionEnd.as_view()),
    path(f"{_SESSION}/interrupt", sessions.SessionInterrupt.as_view()),
    path(f"{_SESSION}/events", sessions.SessionEvents.as_view()),
    path(f"{_SESSION}/verify", sessions.SessionVerify.as_view()),
    path(f"{_SESSION}/permission-audits", sessions.SessionAudits.as_view()),
    path(f"{_SESSION}/route-policy", session_settings.SessionRoutePolicy.as_view()),
    path(f"{_SESSION}/persona", session_settings.SessionPersona.as_view()),
    path(f"{_SESSION}/permission-mode", session_settings.SessionPermissionMode.as_view()),
    path(f"{_SESSION}/permission-rules", session_settings.SessionPermissionRules.as_view()),
    path(f"{_SESSION}/unknown-effects", session_settings.SessionUnknownEffects.as_view()),
    path(f"{_SESSION}/capability-scope", session_settings.SessionCapabilityScope.as_view()),
    path(f"{_SESSION}/credential-scope", session_settings.SessionCredentialScope.as_view()),
    path(f"{_SESSION}/runs", runs.SessionRuns.as_view()),
    path(f"{_SESSION}/input", runs.SessionInput.as_view()),
    path(f"{_SESSION}/approvals", runs.SessionApprovals.as_view()),
    path(f"{_SESSION}/tasks", tasks.Tasks.as_view()),
    path(f"{_SESSION}/tasks/<str:task_id>", tasks.OneTask.as_view()),
    path(f"{_SESSION}/tasks/<str:task_id>/output", tasks.TaskOutput.as_view()),
    path(f"{_SESSION}/tasks/<str:task_id>/stop", tasks.TaskStop.as_view()),
    path("v1/runs", runs.Runs.as_view(), name="runs"),
    path("v1/runs/<str:run_id>", runs.OneRun.as_view(), name="run"),
    path("v1/runs/<str:run_id>/events", runs.RunEvents.as_view()),
    path("v1/runs/<str:run_id>/cancel", runs.RunCancel.as_view()),
    path("v1/runs/<str:run_id>/approvals", runs.RunApprovals.as_view()),
    path("v1/assets", assets.Assets.as_view(), name="assets"),
    path("v1/assets/gc", assets.AssetsCollect.as_view()),
    path("v1/assets/<str:asset_id>", assets.OneAsset.as_view()),
    path("v1/assets/<str:asset_id>/raw", assets.AssetRaw.as_view()),
    path("v1/assets/<str:asset_id>/text", assets.AssetText.as_view()),
    path("v1/assets/<str:asset_id>/references", assets.AssetReferences.as_view()),
    path("v1/approvals", waiting.Approvals.as_view(), name="approvals"),
    path("v1/approvals/<str:approval_id>", waiting.OneApproval.as_view()),
    path("v1/approvals/<str:approval_id>/resolve", waiting.ApprovalResolve.as_view()),
    path("v1/questions", waiting.Questions.as_view(), name="questions"),
    path("v1/questions/<str:question_id>", waiting.OneQuestion.as_view()),
    path("v1/questions/<str:question_id>/resolve", waiting.QuestionResolve.as_view()),
    path("v1/questions/<str:question_id>/cancel", waiting.QuestionCancel.as_view()),
    path("v1/decisions", waiting.Decisions.as_view(), name="decisions"),
    path("v1/decisions/<str:decision_id>", waiting.OneDecision.as_view()),
    path("v1/decisions/<str:decision_id>/resolve", waiting.DecisionResolve.as_view()),
]

"""The addresses of the SSE streams."""

from django.urls import path

from sessions_app.streams import views

urlpatterns = [
    path("v1/sessions/<str:session_id>/stream", views.session_stream, name="session-stream"),
    path("v1/runs/<str:run_id>/stream", views.run_stream, name="run-stream"),
    path("v1/events/stream", views.event_stream, name="event-stream"),
]

"""Addresses of Slack connectors."""

from django.urls import path

from connectors_app.kinds.slack.ingress import SlackIngress, SlackInteractive

_ONE = "v1/connectors/slack/<str:name>"

urlpatterns = [
    path(_ONE, SlackIngress.as_view()),
    path(f"{_ONE}/interactive", SlackInteractive.as_view()),
]

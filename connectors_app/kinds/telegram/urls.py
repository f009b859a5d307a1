"""Addresses of Telegram connectors."""

from django.urls import path

from connectors_app.kinds.telegram.views import TelegramIngress

urlpatterns = [path("v1/connectors/telegram/<str:name>", TelegramIngress.as_view())]

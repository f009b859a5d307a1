"""The Celery application. ``celery -A kheish_site.celery worker`` and ``manage.py serve`` start it."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")

app = Celery("kheish")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

"""``/healthz`` and ``/readyz``: plain text, no login, cheap enough to be asked every second."""

from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe


@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Restart it when this does not."""
    return _plain("ok", 200)


@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when requests may be sent here; 503 while draining or without a database."""
    if (settings.KHEISH.state_dir / "draining").exists():
        return _plain("draining", 503)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return _plain("database unreachable", 503)
    return _plain("ready", 200)


def _plain(words: str, status: int) -> HttpResponse:
    response = HttpResponse(words + "\n", status=status, content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response

"""``/healthz`` and ``/readyz``: plain text, no login, cheap enough to be asked every second."""

from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from kheish_site.lib.errors import Unavailable
from kheish_site.lib.http import MethodNotAllowed, problem_response

View = Callable[[HttpRequest], HttpResponse]


def _probe(view: View) -> View:
    """Return ``view`` for GET and HEAD; anything else is told so."""

    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return problem_response(MethodNotAllowed("a probe can only be read"), request)
        return view(request)

    return answer


@_probe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers. Restart it when this does not."""
    return _plain("ok")


@_probe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when requests may be sent here; 503 while draining or without a database that fits this code."""
    if (settings.KHEISH.state_dir / "draining").exists():
        return _not_ready(request, "the service is stopping", "readiness/daemon_draining")
    try:
        require_prepared()
    except DatabaseError:
        return _not_ready(request, "the database does not answer", "readiness/database_unreachable")
    except NotPrepared as error:
        return problem_response(error, request)
    return _plain("ready")


class NotPrepared(Unavailable):
    """The database has not had every migration of this code."""

    code = "readiness/database_not_prepared"


def require_prepared() -> None:
    """Go on where the database fits this code: it, or a newer one, has prepared it. One query then.

    Raises: NotPrepared, DatabaseError.
    """
    if missing := _missing():
        raise NotPrepared(f"the database lacks {', '.join(missing)}: run manage.py prepare")


def _missing() -> list[str]:
    """Return the newest migrations, one an app, that the database has not had. Raises: DatabaseError."""
    with connection.cursor() as cursor:
        try:
            cursor.execute("SELECT app, name FROM django_migrations")
            applied = set(cursor.fetchall())
        except DatabaseError:
            if MigrationRecorder(connection).has_table():
                raise
            applied = set()  # an empty one
    return sorted(f"{app} {name}" for app, name in _newest() - applied)


@cache
def _newest() -> frozenset[tuple[str, str]]:
    """Return each app's newest migration by the names of its files: to load them all takes too long."""
    files = {app.label: sorted(Path(app.path).glob("migrations/0*.py")) for app in apps.get_app_configs()}
    return frozenset((label, found[-1].stem) for label, found in files.items() if found)


def _plain(words: str) -> HttpResponse:
    response = HttpResponse(words + "\n", content_type="text/plain; charset=utf-8")
    response["Cache-Control"] = "no-store"
    return response


def _not_ready(request: HttpRequest, detail: str, code: str) -> HttpResponse:
    return problem_response(Unavailable(detail, code=code), request)

"""The base of every view under ``/v1/``."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, ClassVar, Final

from django.db.models import QuerySet
from django.http import HttpRequest
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from kheish_site.lib.errors import NotFound
from kheish_site.lib.strict_json import text_problem
from sessions_app.api import idempotency, pagination, problems
from sessions_app.api.serializers.base import Query, StrictSerializer, list_fields, validated
from sessions_app.models import Role
from sessions_app.services import audit, secrets
from sessions_app.services.principal import Principal

SECRETS_AGE_SECONDS: Final = 5.0


class KheishView(APIView):
    """Parse, authorise, call one service, serialize.

    ``read_role`` and ``write_role`` say who may; ``query_serializer`` says which query parameters a GET
    takes, ``delete_query`` which a DELETE takes (other methods take none). Authentication, parser,
    renderer and exception handler come from ``settings/api.py``.
    """

    read_role: ClassVar[str] = Role.VIEWER
    write_role: ClassVar[str] = Role.OPERATOR
    query_serializer: ClassVar[type[Query]] = Query
    delete_query: ClassVar[type[Query]] = Query
    http_method_names = ["get", "head", "post", "put", "delete"]
    request: Request

    @property
    def default_response_headers(self) -> dict[str, str]:
        """No store may keep an answer: what a caller may see is decided anew each time."""
        return {**super().default_response_headers, "Cache-Control": "no-store"}

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer, with the caller known to whatever is recorded meanwhile."""
        with audit.acting(self._caller):
            return super().dispatch(request, *args, **kwargs)

    def _caller(self) -> Principal | None:
        found = getattr(self.request, "auth", None)
        return found if isinstance(found, Principal) else None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Authenticate, authorise, throttle; then refuse addresses and queries nobody can mean."""
        super().initial(request, *args, **kwargs)
        _measure_body(request._request)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise problems.UnsupportedMediaType("a body is read as it is: send it without Content-Encoding")
        if any(text_problem(value) for value in kwargs.values() if isinstance(value, str)):
            raise NotFound("there is nothing here")
        self.query  # noqa: B018  # evaluated for its errors
        if request.method not in SAFE_METHODS:
            # What is written from here on must not hold a secret that another process stored meanwhile.
            secrets.refresh_redaction(max_age_seconds=SECRETS_AGE_SECONDS)

    @property
    def principal(self) -> Principal:
        """The caller."""
        found = self.request.auth
        assert isinstance(found, Principal)
        return found

    @cached_property
    def query(self) -> dict[str, Any]:
        """The validated query parameters. Raises: InvalidRequest."""
        given = self.request.query_params
        kinds = {"GET": self.query_serializer, "HEAD": self.query_serializer, "DELETE": self.delete_query}
        kind = kinds.get(self.request.method or "", Query)
        lists = list_fields(kind)
        errors = [
            {"parameter": name, "detail": "given twice"}
            for name in given
            if len(given.getlist(name)) > 1 and name not in lists
        ]
        data = {name: given.getlist(name) if name in lists else given[name] for name in given}
        try:
            if not errors:
                return validated(kind, data)
        except serializers.ValidationError as error:
            found = problems.field_errors(error.detail)
            errors = [{"parameter": item["pointer"].strip("/"), "detail": item["detail"]} for item in found]
        raise problems.InvalidRequest("the query breaks its schema", errors=errors)

    def body(self, kind: type[StrictSerializer]) -> dict[str, Any]:
        """Return the validated body; ``idempotency_key`` is not part of it. Raises: ValidationError."""
        data = self.request.data
        if isinstance(data, dict):
            data = {name: value for name, value in data.items() if name != idempotency.MEMBER}
        return validated(kind, data)

    def page(self, rows: QuerySet[Any], render: Callable[[Sequence[Any]], Any], **options: Any) -> Response:
        """Answer with one page of ``rows``; ``render`` is a projection of many rows at once.

        ``pagination.paginate`` has the options (``key``, ``order``, ``total``).
        """
        return Response(pagination.paginate(rows, self.query, render=render, **options))

    def get_view_name(self) -> str:
        """Return the class name; nothing shows it."""
        return type(self).__name__


def _measure_body(request: HttpRequest) -> None:
    """Give a body without Content-Length its length: DRF takes it for empty otherwise.

    Raises: RequestDataTooBig.
    """
    if not request.META.get("CONTENT_LENGTH") and request.META.get("HTTP_TRANSFER_ENCODING"):
        request.META["CONTENT_LENGTH"] = str(len(request.body))

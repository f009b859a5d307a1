"""Every exception has one answer."""

import pytest
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import DataError, IntegrityError, OperationalError
from django.http import Http404, UnreadablePostError
from rest_framework import exceptions

from kheish_site.lib.errors import Conflict
from kheish_site.lib.http import problem_headers
from sessions_app.api.problems import field_errors, translate

ANSWERS = [
    (Conflict("no", code="run_state_conflict"), 409, "run_state_conflict"),
    (exceptions.ParseError(), 400, "bad_request"),
    (exceptions.NotAuthenticated(), 401, "unauthorized"),
    (exceptions.PermissionDenied(), 403, "forbidden"),
    (exceptions.PermissionDenied("CSRF Failed: missing"), 403, "csrf_failed"),
    (exceptions.NotFound(), 404, "not_found"),
    (exceptions.MethodNotAllowed("PATCH"), 405, "method_not_allowed"),
    (exceptions.NotAcceptable(), 406, "not_acceptable"),
    (exceptions.UnsupportedMediaType("text/xml"), 415, "unsupported_media_type"),
    (exceptions.Throttled(wait=3), 429, "rate_limited"),
    (exceptions.ValidationError({"a": ["bad"]}), 400, "invalid_request"),
    (exceptions.APIException(), 500, "internal_error"),
    (Http404(), 404, "not_found"),
    (RequestDataTooBig(), 413, "payload_too_large"),
    (SuspiciousOperation(), 400, "bad_request"),
    (UnreadablePostError(), 400, "bad_request"),
    (OperationalError("gone"), 503, "service_unavailable"),
    (IntegrityError("twice"), 409, "conflict"),
    (DataError("long"), 400, "invalid_request"),
    (ZeroDivisionError("secret detail"), 500, "internal_error"),
]


@pytest.mark.parametrize(("error", "status", "code"), ANSWERS)
def test_status_and_code(error, status, code):
    known = translate(error)
    assert (known.status, known.error_code) == (status, code)
    assert "secret detail" not in known.detail


def test_headers_of_a_challenge_and_of_a_wait():
    assert problem_headers(translate(exceptions.NotAuthenticated()))["WWW-Authenticate"].startswith("Bearer")
    assert problem_headers(translate(exceptions.Throttled(wait=2.1)))["Retry-After"] == "3"


def test_field_errors_are_pointers():
    detail = {"a/b": ["bad"], "list": [{}, {"name": ["worse"]}], "non_field_errors": ["all"]}
    assert field_errors(detail) == [
        {"pointer": "/a~1b", "detail": "bad"},
        {"pointer": "/list/1/name", "detail": "worse"},
        {"pointer": "", "detail": "all"},
    ]

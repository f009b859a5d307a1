"""What a browser may load: of a page what the settings say, of an answer nothing."""

import pytest
from django.test import Client

from tests.factories import make_client

pytestmark = pytest.mark.django_db


def test_an_answer_may_load_nothing() -> None:
    for path in ("/v1/status", "/v1/nothing"):
        policy = make_client().get(path).headers["Content-Security-Policy"]
        assert policy == "default-src 'none'; frame-ancestors 'none'"


def test_a_page_has_the_settings_policy() -> None:
    assert "default-src 'self'" in Client().get("/admin/login/").headers["Content-Security-Policy"]

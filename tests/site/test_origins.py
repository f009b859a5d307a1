"""A login counts on the service's own pages alone; other pages need a token."""

import asyncio
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.test import Client

from kheish_site.edge import _PREFLIGHT, judging_origins
from kheish_site.pooled import PooledHandler
from tests.site.test_pooled import ask, scope

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cookie(django_user_model: Any) -> str:
    client = Client()
    client.force_login(django_user_model.objects.create(username="ada", is_superuser=True))
    return client.cookies["kheish_session"].output(header="").split(";")[0].strip()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:4000", 200),
        ("http://localhost:9999", 401),
        ("http://127.0.0.1:4000", 401),  # another name is another page
        ("https://evil.example", 403),
    ],
)
def test_a_login_counts_on_our_own_pages_alone(cookie: str, origin: str, status: int) -> None:
    application = judging_origins(PooledHandler())
    wanted = scope("/v1/sessions", host="localhost:4000", cookie=cookie, origin=origin)
    found, headers, _ = asyncio.run(ask(application, wanted))
    assert found == status
    assert b"access-control-allow-credentials" not in {name.lower() for name in headers}


def test_two_origins_are_one_too_many() -> None:
    wanted = scope("/v1/sessions", host="localhost:4000", origin="http://localhost:9999")
    wanted["headers"].append((b"origin", b"http://localhost:4000"))
    assert asyncio.run(ask(judging_origins(PooledHandler()), wanted))[0] == 403


def test_a_prefix_of_the_path_hides_nothing() -> None:
    wanted = scope("/x/v1/sessions", host="localhost:4000", origin="https://evil.example")
    wanted["root_path"] = "/x"
    assert asyncio.run(ask(judging_origins(PooledHandler()), wanted))[0] == 403


def test_a_port_too_long_to_be_one_is_not_ours() -> None:
    host = f"localhost:{'1' * 5000}"
    wanted = scope("/v1/sessions", host=host, origin="http://localhost")
    assert asyncio.run(ask(judging_origins(PooledHandler()), wanted))[0] in (400, 401)


def test_pages_may_send_every_header_the_document_names() -> None:
    """Senders of events are no pages."""
    document = yaml.safe_load((settings.BASE_DIR / "docs/openapi.yaml").read_text())
    named = {
        item["name"].lower()
        for path, operations in document["paths"].items()
        if not path.startswith("/v1/connectors/")
        for operation in operations.values()
        for item in operation.get("parameters", ())
        if item["in"] == "header"
    }
    told = dict(_PREFLIGHT)[b"access-control-allow-headers"].decode().split(", ")
    assert "kheish-stream-id" in named and named <= {*told}

"""/healthz and /readyz."""

import pytest
from django.conf import settings


@pytest.fixture
def draining():
    mark = settings.KHEISH.state_dir / "draining"
    mark.touch()
    yield
    mark.unlink()


def test_alive_without_a_database(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")
    assert answer["Cache-Control"] == "no-store"


@pytest.mark.django_db
def test_ready(client):
    assert client.get("/readyz").status_code == 200


@pytest.mark.usefixtures("draining")
def test_not_ready_while_draining(client):
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reading(client, path):
    assert client.post(path).status_code == 405

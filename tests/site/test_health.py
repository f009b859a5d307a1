"""/healthz and /readyz."""

import pytest
from django.conf import settings
from django.db import connection
from django.db.migrations.loader import MigrationLoader


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


@pytest.mark.django_db
def test_one_query_is_asked(client, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert client.get("/readyz").status_code == 200


@pytest.mark.django_db
def test_not_ready_before_the_newest_migrations(client):
    ((app, newest),) = MigrationLoader(None).graph.leaf_nodes("sessions_app")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = %s AND name = %s", [app, newest])
        cursor.execute(
            "INSERT INTO django_migrations (app, name, applied) "
            "VALUES ('auth', '9999_newer_than_this_code', CURRENT_TIMESTAMP)"
        )
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "readiness/database_not_prepared")
    assert answer.json()["detail"] == f"the database lacks {app} {newest}: run manage.py prepare"


@pytest.mark.django_db(transaction=True)
def test_not_ready_on_an_empty_database(client):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_migrations RENAME TO elsewhere")
        try:
            answer = client.get("/readyz")
        finally:
            cursor.execute("ALTER TABLE elsewhere RENAME TO django_migrations")
    assert (answer.status_code, answer.json()["code"]) == (503, "readiness/database_not_prepared")
    for app in ("sessions_app", "connectors_app", "auth"):
        assert f"{app} 0" in answer.json()["detail"]
    assert client.get("/healthz").status_code == 200


@pytest.mark.services_only
@pytest.mark.django_db(transaction=True)
def test_a_table_that_is_held_is_not_taken_for_a_missing_one(client):
    holder = connection.copy("holder")
    try:
        with holder.cursor() as other, connection.cursor() as cursor:
            other.execute("BEGIN; LOCK TABLE django_migrations IN ACCESS EXCLUSIVE MODE")
            cursor.execute("SET statement_timeout = 200")
            answer = client.get("/readyz")
            cursor.execute("RESET statement_timeout")
    finally:
        holder.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "readiness/database_unreachable")


@pytest.mark.usefixtures("draining")
def test_not_ready_while_draining(client):
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_only_reading(client, path):
    assert client.post(path).status_code == 405

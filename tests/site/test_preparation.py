"""A start skips its preparation only while PostgreSQL is as the last one left it."""

import pytest
from django.db import connection

from kheish_site.supervisor.preparation import Preparation
from sessions_app.models import ApiToken
from sessions_app.services import tokens

pytestmark = [pytest.mark.services_only, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def preparation(tmp_path) -> Preparation:
    (tmp_path / "secret.key").touch()
    tokens.ensure_local_token(tmp_path / "operator.token")
    told = connection.settings_dict
    user = f"{told['USER']}:{told['PASSWORD']}@" if told["USER"] else ""
    made = Preparation(tmp_path, f"postgresql://{user}{told['HOST']}:{told['PORT']}/{told['NAME']}")
    made.note()
    return made


def test_an_unchanged_database_needs_nothing(preparation: Preparation):
    assert preparation.holds()


def test_another_local_token_is_another_database(preparation: Preparation):
    tokens.revoke(ApiToken.objects.get(name="local").token_id)
    assert not preparation.holds()


def test_a_migration_that_is_missing_is_seen(preparation: Preparation):
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM django_migrations WHERE app = 'sessions_app' AND name LIKE '0010%' "
            "RETURNING app, name, applied"
        )
        gone = cursor.fetchone()
        try:
            assert not preparation.holds()
        finally:
            cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)", gone)
    assert preparation.holds()

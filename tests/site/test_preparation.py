"""A start skips its preparation only while database, configuration and secrets are as it left them."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from django.db import connection

from kheish_site.supervisor.preparation import Preparation
from sessions_app.models import ApiToken
from sessions_app.services import tokens

SCHEMA = """
CREATE TABLE django_migrations (app text, name text);
CREATE TABLE sessions_app_apitoken (id integer, name text, secret_hash text, revoked_at text);
INSERT INTO django_migrations VALUES ('sessions_app', '0001_initial');
INSERT INTO sessions_app_apitoken VALUES (1, 'local', 'abc', NULL);
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder with a SQLite file that has what is asked for."""
    for name in ("secret.key", "operator.token"):
        (tmp_path / name).touch()
    change(tmp_path, SCHEMA)
    return tmp_path


def change(folder: Path, sql: str) -> None:
    with closing(sqlite3.connect(folder / "kheish.sqlite3")) as opened:
        opened.executescript(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM django_migrations",
        "INSERT INTO django_migrations VALUES ('sessions_app', '0002_more')",
        "UPDATE sessions_app_apitoken SET secret_hash = 'other'",
        "DROP TABLE sessions_app_apitoken",
    ],
)
def test_another_sqlite_file_is_prepared(folder: Path, sql: str):
    preparation = Preparation(folder, "")
    preparation.note()
    assert preparation.holds()
    change(folder, sql)
    assert not preparation.holds()
    preparation.note()
    assert preparation.holds() == sql.startswith(("INSERT", "UPDATE"))


def test_without_a_sqlite_file_none_is_made(folder: Path):
    (folder / "kheish.sqlite3").unlink()
    preparation = Preparation(folder, "")
    preparation.note()
    assert not preparation.holds() and not (folder / "kheish.sqlite3").exists()


@pytest.mark.parametrize("variable", ["KHEISH_ROUTES_FILE", "KHEISH_CONNECTORS_FILE"])
def test_what_a_configuration_says_or_names_is_prepared_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    configuration, secret = folder / "conf.toml", folder / "secret.txt"
    configuration.write_text('a = "SOME_TOKEN"\nb = \'secret.txt\'\nc = "' + "long " * 200 + '"\n')
    secret.write_text("one")
    monkeypatch.setenv("SOME_TOKEN", "one")
    preparation = Preparation(folder, "")
    preparation.note()
    monkeypatch.setenv(variable, str(configuration))
    assert not preparation.holds()
    preparation.note()
    monkeypatch.setenv("UNNAMED", "two")
    assert preparation.holds()
    for change_it in (
        lambda: monkeypatch.setenv("SOME_TOKEN", "two"),
        lambda: secret.write_text("two"),
        lambda: configuration.write_text(configuration.read_text() + "# more\n"),
        configuration.unlink,
    ):
        change_it()
        assert not preparation.holds()
        preparation.note()
        assert preparation.holds()


@pytest.fixture
def preparation(tmp_path) -> Preparation:
    (tmp_path / "secret.key").touch()
    tokens.ensure_local_token(tmp_path / "operator.token")
    told = connection.settings_dict
    user = f"{told['USER']}:{told['PASSWORD']}@" if told["USER"] else ""
    made = Preparation(tmp_path, f"postgresql://{user}{told['HOST']}:{told['PORT']}/{told['NAME']}")
    made.note()
    return made


@pytest.mark.services_only
@pytest.mark.django_db(transaction=True)
def test_an_unchanged_database_needs_nothing(preparation: Preparation):
    assert preparation.holds()


@pytest.mark.services_only
@pytest.mark.django_db(transaction=True)
def test_another_local_token_is_another_database(preparation: Preparation):
    tokens.revoke(ApiToken.objects.get(name="local").token_id)
    assert not preparation.holds()


@pytest.mark.services_only
@pytest.mark.django_db(transaction=True)
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

"""Services for the acceptance tests, in the profile of the run."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.service import Service

SERVICES = os.environ.get("KHEISH_TEST_PROFILE") == "services"


@pytest.fixture
def service_environment() -> Iterator[dict[str, str]]:
    """Nothing for the embedded profile; a fresh database and a Redis number of its own for the other."""
    if not SERVICES:
        yield {}
        return
    server, redis = os.environ["KHEISH_TEST_DATABASE_URL"], os.environ["KHEISH_TEST_REDIS_URL"]
    name = f"kheish_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    number = int(uuid.uuid4().int % 14) + 1
    yield {
        "KHEISH_DATABASE_URL": f"{server.rpartition('/')[0]}/{name}",
        "KHEISH_REDIS_URL": f"{redis.rpartition('/')[0]}/{number}",
    }
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def service(tmp_path: Path, service_environment: dict[str, str]) -> Iterator[Service]:
    """A service that is not started yet."""
    made = Service(tmp_path / "state", service_environment)
    yield made
    made.end()

"""Services for the acceptance tests, in the profile of the run.

Preparing an installation takes longer than most tests, so it is done once and copied: a folder in the
embedded profile, a folder and a database in the other.
"""

import fcntl
import itertools
import json
import os
import secrets
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from redis import Redis

from tests.support.service import SERVICES, Deployment, Service, make
from tests.support.service_api import Api

Say = Callable[[str], None]
_D = TypeVar("_D", bound=Deployment)


_REDIS_NUMBERS = itertools.count()


def redis_url() -> str:
    """An emptied Redis database that no other test of this run uses at the same time."""
    server = os.environ["KHEISH_TEST_REDIS_URL"].rpartition("/")[0]
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with Redis.from_url(server) as redis:
        databases = int(redis.config_get("databases")["databases"])
        url = f"{server}/{1 + (7 * place + next(_REDIS_NUMBERS) % 7) % (databases - 1)}"
    with Redis.from_url(url) as redis:
        redis.flushdb()
    return url


@contextmanager
def database(template: str = "") -> Iterator[dict[str, str]]:
    """The environment of a database and a Redis number of its own; nothing in the embedded profile."""
    environment = _create(template)
    try:
        yield environment
    finally:
        _drop(environment)


def _create(template: str = "") -> dict[str, str]:
    if not SERVICES:
        return {}
    server = os.environ["KHEISH_TEST_DATABASE_URL"]
    name = f"kheish_{uuid.uuid4().hex[:12]}"
    source = f' TEMPLATE "{template}"' if template else ""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"{source}')
    return {
        "KHEISH_DATABASE_URL": f"{server.rpartition('/')[0]}/{name}",
        "KHEISH_REDIS_URL": redis_url(),
    }


def _drop(environment: dict[str, str]) -> None:
    if environment:
        name = environment["KHEISH_DATABASE_URL"].rpartition("/")[2]
        with psycopg.connect(os.environ["KHEISH_TEST_DATABASE_URL"], autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def service_environment() -> Iterator[dict[str, str]]:
    """What a service on a fresh installation needs to be told."""
    with database() as environment:
        yield environment


@pytest.fixture
def service(tmp_path: Path, service_environment: dict[str, str]) -> Iterator[Service]:
    """`manage.py serve` on a fresh installation, not started yet."""
    made = Service(tmp_path / "state", service_environment)
    yield made
    made.end()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """An installation that was started once and stopped: what the others are copied from."""
    with made_once(tmp_path_factory, "prepared", _prepare, _remove) as folder:
        yield make(folder / "state", _environment_of(folder))


@contextmanager
def made_once(
    factory: pytest.TempPathFactory,
    name: str,
    fill: Callable[[Path], None],
    remove: Callable[[Path], None],
) -> Iterator[Path]:
    """A folder that the processes of a test run share: the first to need it makes it, the last removes it."""
    common = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent
    folder, lock = common / name, common / f"{name}.lock"
    user = folder / f"user-{uuid.uuid4().hex}"
    with _alone(lock):
        if not folder.exists():
            folder.mkdir()
            try:
                fill(folder)
            except BaseException:
                remove(folder)
                raise
        user.touch()
    yield folder
    with _alone(lock):
        user.unlink()
        if not list(folder.glob("user-*")):
            remove(folder)


def _prepare(folder: Path) -> None:
    (folder / "environment.json").write_text(json.dumps(_create()))
    made = make(folder / "state", _environment_of(folder))
    try:
        made.start()
        assert made.stop() == 0, made.words()
    except BaseException:
        made.end()
        raise


def _environment_of(folder: Path) -> dict[str, str]:
    return dict(json.loads((folder / "environment.json").read_text()))


def _remove(folder: Path) -> None:
    _drop(_environment_of(folder))
    shutil.rmtree(folder)


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Let one process at a time into the block."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def installed(
    prepared: Deployment, folder: Path, kind: Callable[..., _D] = make, **settings: str
) -> Iterator[_D]:
    """A copy of the prepared installation, not started; whatever was started ends with the block."""
    template = prepared.environment.get("KHEISH_DATABASE_URL", "").rpartition("/")[2]
    with database(template) as environment:
        made = kind(folder / "state", environment | settings)
        shutil.copytree(
            prepared.state_dir, made.state_dir, ignore=shutil.ignore_patterns("serve.lock", "*.sock")
        )
        # A key of its own: it names the installation's channels where several share a Redis.
        (made.state_dir / "secret.key").write_text(secrets.token_urlsafe(50))
        shutil.copy(prepared.output, made.output)
        if settings and isinstance(made, Service):
            made.note_prepared({})
        try:
            yield made
        finally:
            made.end()


@pytest.fixture(scope="module")
def shared(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """One running service for the tests of a module that leave it as it was."""
    with installed(prepared, tmp_path_factory.mktemp("shared")) as made:
        made.start()
        yield made


@pytest.fixture(scope="module")
def serving(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One running `manage.py serve` for the tests of a module, in either profile."""
    with installed(prepared, tmp_path_factory.mktemp("serving"), Service) as made:
        made.start()
        yield made


@pytest.fixture
def api(shared: Deployment) -> Api:
    """The operator's view of the shared service."""
    return Api(shared.url, shared.token)


@pytest.fixture
def own(prepared: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    """An installation for one test, not started."""
    with installed(prepared, tmp_path) as made:
        yield made


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Say:
    """Print a measured number, also when the test passes."""

    def speak(text: str) -> None:
        with capfd.disabled(), suppress(OSError):
            print(f"\n[{'services' if SERVICES else 'embedded'}] {text}", file=sys.stderr, flush=True)

    return speak

"""What every test stands on: the profile of the run and a closed network.

Which profile runs a test: both, unless it would prove the same twice. Locks, races, commits, services, the
engine, streams, deliveries and what is under ``acceptance`` are about the database and the broker, so
both; there, what talks to the service as a client does or to a platform is marked ``embedded_only``, and the
places where a process dies are shared out between the two, as ``manage.py torture`` has all in both. What
only translates to services is the same on either database, and the embedded run has it: tests without a
database, admin pages, API views and kinds of connectors. Of these the services run has the tests that
commit (``transaction=True``), the one look at every admin page, and, as PostgreSQL refuses more than
SQLite, the requests that are made up for every endpoint (and are too many to ask twice).
"""

import gc
import os
import socket
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from django.test import TransactionTestCase
from whitenoise.middleware import WhiteNoiseMiddleware

from kheish_site.lib import collector
from tests.support.emptying import empty_tables, end_sessions

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
collector.rarely()
PROFILE = os.environ.get("KHEISH_TEST_PROFILE", "embedded")
OTHER = {"embedded": "services_only", "services": "embedded_only"}[PROFILE]
HERE = Path(__file__).parent
NO_DATABASE = tuple(HERE / name for name in ("unit", "conformance"))
PAGES = tuple(HERE / app / "admin" for app in ("sessions_app", "connectors_app"))
EVERY_PAGE = ("test_pages.py", "test_every_page.py")
TRANSLATORS = tuple(
    HERE / name for name in ("sessions_app/api", "connectors_app/api", "connectors_app/kinds")
)
collect_ignore = [] if find_spec("selenium") else ["browser"]  # `test --browser` installs its client
SLOW = tuple(
    HERE / folder
    for folder in (
        "acceptance", "browser", "conformance", "connectors_app", "fuzz", "integration", "journals",
        "sessions_app/admin", "sessions_app/api", "sessions_app/streams",
    )
)  # fmt: skip
"""Folders that ``--fast`` leaves out whole."""
LONG = tuple(
    HERE / folder for folder in ("sessions_app/streams", "browser", "integration", "acceptance", "fuzz")
)
"""Folders whose files come first: a long file that begins last would keep one process busy alone.

Streams of all sessions wait for the oldest transaction of the whole PostgreSQL, and a fuzzed request has one
open for seconds: the first are over long before the last begin.
"""
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the other profile; deselected, so that nothing counts as skipped."""
    for item in items:
        if _is_below(item, SLOW):
            item.add_marker(pytest.mark.slow)
    gone = [item for item in items if item.get_closest_marker(OTHER) or _ran_already(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        left_out = set(gone)
        items[:] = [item for item in items if item not in left_out]
    # xdist runs one of several tests with the same id
    assert len({item.nodeid for item in items}) == len(items), "two tests have the same id"


class LongFirst:
    """Registered last, so that it has the last word on the order."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Put the long files first; what is shuffled stays so."""
        items.sort(key=_place)


def pytest_configure(config: pytest.Config) -> None:
    """Sort after the plugins that shuffle."""
    config.pluginmanager.register(LongFirst(), "long-first")


def pytest_collection_finish() -> None:
    """What is loaded now stays to the end."""
    gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even read a folder that ``--fast`` or this profile leaves out whole."""
    if PROFILE == "services" and collection_path in NO_DATABASE:
        return True
    return True if collection_path in SLOW and "not slow" in config.option.markexpr else None


def _ran_already(item: pytest.Item) -> bool:
    """Tell whether the embedded run has proved it for both, as the module says."""
    if PROFILE == "embedded":
        return False
    if _is_below(item, NO_DATABASE):
        return True
    if _is_below(item, PAGES):
        return item.path.name not in EVERY_PAGE
    database = item.get_closest_marker("django_db")
    commits = database is not None and database.kwargs.get("transaction", False)
    return _is_below(item, TRANSLATORS) and not commits


def _place(item: pytest.Item) -> int:
    """Where the folder of a test stands in ``LONG``, or behind all of them."""
    return next((place for place, folder in enumerate(LONG) if _is_below(item, (folder,))), len(LONG))


def _is_below(item: pytest.Item, folders: tuple[Path, ...]) -> bool:
    return _stands_below(item.path, folders)


@cache
def _stands_below(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(folder in path.parents for folder in folders)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> Iterator[None]:
    """Before the database goes, its connections do: one that is in use cannot be dropped."""
    yield
    gc.collect()  # those of threads that are over
    if PROFILE == "services":
        end_sessions()  # those of threads that live on, as streams have them


@pytest.fixture(autouse=True, scope="session")
def quickly_emptied() -> Iterator[None]:
    """Tests that commit leave an empty database, by the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
        yield


@pytest.fixture(autouse=True, scope="session")
def static_files_found_once() -> Iterator[None]:
    """Every test client loads the middleware anew, and this would look at each static file again."""
    find, found = WhiteNoiseMiddleware.add_files_from_finders, dict[str, Any]()

    def find_once(self: WhiteNoiseMiddleware) -> None:
        if not found:
            find(self)
            found.update(self.files)
        self.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections that leave this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not str(address[0]).startswith(LOOPBACK):
            raise OSError(f"tests do not talk to {address[0]}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def forgotten_revisions() -> None:
    """Revisions never change in service, so a process remembers them; every test has its own."""
    from sessions_app.services import runtime_settings

    runtime_settings.at.cache_clear()


@pytest.fixture(autouse=True)
def forgotten_secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test stores as a secret is masked for the life of a process, so not in the tests after it."""
    from kheish_site.lib.redaction import _REDACTOR
    from sessions_app.services import secrets

    monkeypatch.setattr(secrets, "_LEARNED", secrets._Learned())
    known, pattern = dict(_REDACTOR._values), _REDACTOR._known[0]
    yield
    _REDACTOR._values, _REDACTOR._known = known, (pattern, set())

"""What every test stands on: the profile of the run and a closed network."""

import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.test import TransactionTestCase

from tests.support.emptying import empty_tables

PROFILE = os.environ.get("KHEISH_TEST_PROFILE", "embedded")
OTHER = {"embedded": "services_only", "services": "embedded_only"}[PROFILE]
HERE = Path(__file__).parent
NO_DATABASE = [HERE / name for name in ("unit", "conformance")]
collect_ignore = [] if find_spec("selenium") else ["browser"]  # `test --browser` installs its client
SLOW = tuple(
    HERE / folder for folder in ("fuzz", "integration", "sessions_app/admin", "conformance", "connectors_app")
)
"""Folders that ``--fast`` leaves out whole."""
LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what belongs to the other profile; deselected, so that nothing counts as skipped."""
    for item in items:
        if any(folder in item.path.parents for folder in SLOW):
            item.add_marker(pytest.mark.slow)
    gone = [item for item in items if item.get_closest_marker(OTHER) or _ran_already(item)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        left_out = set(gone)
        items[:] = [item for item in items if item not in left_out]


def _ran_already(item: pytest.Item) -> bool:
    """Tests without a database are the same in both profiles: the embedded run has them."""
    return PROFILE == "services" and any(folder in item.path.parents for folder in NO_DATABASE)


@pytest.fixture(autouse=True, scope="session")
def quickly_emptied() -> Iterator[None]:
    """Tests that commit leave an empty database, by the short way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_tables)
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

"""A real service, and the Chromium windows of a test process."""

from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import installed, prepared
from tests.browser.browser import close_windows
from tests.browser.scenes import SETTINGS
from tests.support.service import Deployment, Service

__all__ = ["prepared"]


@pytest.fixture(scope="module")
def service(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the pages of one file."""
    with installed(prepared, tmp_path_factory.mktemp("browser"), Service, **SETTINGS) as made:
        made.start()
        yield made


@pytest.fixture(scope="session", autouse=True)
def windows() -> Iterator[None]:
    """No window outlives the tests."""
    yield
    close_windows()

"""The browser itself."""

import pytest

from tests.browser.browser import started
from tests.support.service_process import alive, children_of, until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]


def test_a_window_that_is_closed_leaves_nothing_running() -> None:
    driver = started()
    found = below(driver.service.process.pid)
    assert len(found) > 2, found
    driver.quit()
    until(lambda: not any(map(alive, found)), 10, lambda: f"outlived its driver: {found}")


def below(pid: int) -> dict[int, str]:
    """All descendants."""
    found = children_of(pid)
    return {**found, **{key: words for child in found for key, words in below(child).items()}}

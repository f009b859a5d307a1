"""A local Slack."""

from collections.abc import Iterator

import pytest

from tests.support.slack_server import SlackServer


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """A local Slack."""
    with SlackServer() as server:
        yield server

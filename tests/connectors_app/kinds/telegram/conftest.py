"""A Bot API server for each test that wants one."""

from collections.abc import Iterator

import pytest

from tests.support.telegram_server import TelegramServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TelegramServer]:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")  # the library warns where durations are still numbers
    with TelegramServer() as server:
        yield server

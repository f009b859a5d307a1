"""Drivers by name, and what loading them costs."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sessions_app.providers import registry
from sessions_app.providers.base import Endpoint, ProviderError


@pytest.fixture
def restored() -> Iterator[None]:
    before, options = dict(registry._factories), dict(registry._own_options)
    yield
    registry._factories.clear()
    registry._factories.update(before)
    registry._own_options.clear()
    registry._own_options.update(options)


def test_the_drivers_there_are() -> None:
    assert registry.drivers() == ["openai", "scripted"]


def test_an_unknown_driver() -> None:
    with pytest.raises(ProviderError, match="known: openai, scripted") as caught:
        registry.build(Endpoint(driver="smoke"))
    assert caught.value.kind == "invalid"


def test_a_driver_can_be_added(restored: None) -> None:
    marker: Any = object()
    registry.register("mine", lambda endpoint: marker)
    assert registry.build(Endpoint(driver="mine")) is marker
    assert "mine" in registry.drivers()


def test_the_openai_package_is_loaded_only_for_its_driver() -> None:
    code = """
import sys
from sessions_app.providers import registry
from sessions_app.providers.base import Endpoint
registry.build(Endpoint(driver="scripted"))
assert not {"openai", "httpx", "django"} & set(sys.modules)
registry.build(Endpoint(driver="openai", api_key="k"))
assert "openai" in sys.modules and "django" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)

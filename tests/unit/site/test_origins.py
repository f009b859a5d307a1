"""Which pages are the service's own, and which others may ask."""

from dataclasses import replace
from typing import Any

import pytest

from kheish_site.lib import origins


@pytest.fixture(autouse=True)
def installation(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "[::1]", "kheish.example"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://desk.example", "https://*.teams.example"]
    settings.KHEISH = replace(settings.KHEISH, public_url="https://people.example:8443/kheish")
    settings.SESSION_COOKIE_SECURE = False


@pytest.mark.parametrize(
    ("origin", "host", "ours"),
    [
        ("http://localhost:4000", "localhost:4000", True),
        ("http://[::1]:4000", "[::1]:4000", True),
        ("https://kheish.example", "kheish.example", True),  # behind a proxy that ends TLS
        ("https://kheish.example", "kheish.example:443", True),
        ("https://people.example:8443", "localhost:4000", True),
        ("https://people.example", "localhost:4000", False),
        ("https://desk.example", "localhost:4000", True),
        ("http://desk.example", "localhost:4000", False),
        ("https://red.teams.example", "localhost:4000", True),
        ("https://red.teams.example:444", "localhost:4000", False),
        ("https://redteams.example", "localhost:4000", False),
        ("http://localhost:4001", "localhost:4000", False),
        ("http://evil.example", "evil.example", False),  # a name that resolves to us is not our name
        ("http://localhost:4000/", "localhost:4000", False),
        ("http://ada@localhost:4000", "localhost:4000", False),
        ("null", "localhost:4000", False),
        ("", "localhost:4000", False),
        ("http://localhost:x", "localhost:4000", False),
        ("http://[::1", "[::1]:4000", False),
        ("ftp://localhost:4000", "localhost:4000", False),
    ],
)
def test_our_own_pages(origin: str, host: str, ours: bool) -> None:
    assert origins.is_ours(origin, host) is ours


def test_behind_https_a_page_without_is_not_ours(settings: Any) -> None:
    settings.SESSION_COOKIE_SECURE = True
    assert not origins.is_ours("http://kheish.example", "kheish.example")
    assert origins.is_ours("https://kheish.example", "kheish.example")


@pytest.mark.parametrize(
    ("origin", "any_loopback", "by_the_list"),
    [
        ("http://localhost:3000", True, True),
        ("http://localhost:3001", True, False),
        ("http://127.0.0.1:3000", True, False),
        ("https://[::1]", True, False),
        ("http://10.0.0.1", False, False),
        ("http://localhost.evil.example", False, False),
        ("http://localhost@evil.example", False, False),
        ("http://127.0.0.1.evil.example", False, False),
        ("http://localhost:3000/page", False, False),
        ("https://listed.example", False, False),  # the check refuses it; the code does not let it in either
        ("null", False, False),
        ("*", False, False),
    ],
)
def test_who_else_may_ask(settings: Any, origin: str, any_loopback: bool, by_the_list: bool) -> None:
    assert origins.may_ask(origin) is any_loopback
    listed = ("http://localhost:3000", "https://listed.example", "*")
    settings.KHEISH = replace(settings.KHEISH, cors_origins=listed)
    assert origins.may_ask(origin) is by_the_list

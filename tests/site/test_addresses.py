"""Grouping changes which patterns are tried, never which one is found."""

import re
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, resolve, reverse

from connectors_app import urls as connectors
from kheish_site.urls import urlpatterns
from sessions_app.api import urls as api
from sessions_app.streams import urls as streams

pytestmark = pytest.mark.embedded_only  # the same on either database
FLAT: list[Any] = [*streams.urlpatterns, *connectors.urlpatterns, *api.urlpatterns]


def example(pattern: URLPattern) -> str:
    """Return an address that the pattern is for."""
    return "/" + re.sub(r"<\w+:\w+>", "7", str(pattern.pattern))


@pytest.mark.parametrize("pattern", FLAT[:-1], ids=lambda pattern: str(pattern.pattern))
def test_an_address_means_what_it_meant_in_the_flat_list(pattern: URLPattern) -> None:
    address = example(pattern)
    first = next(found for flat in FLAT if (found := flat.resolve(address.removeprefix("/"))))
    grouped = resolve(address)
    assert (grouped.func, grouped.kwargs) == (first.func, first.kwargs)


def test_names_lead_to_their_addresses() -> None:
    assert reverse("session", args=["desk"]) == "/v1/sessions/desk"
    assert reverse("run-export", args=["run_1"]) == "/v1/runs/run_1/export"


def test_what_nobody_has_is_answered_by_the_api() -> None:
    for address in (
        "/v1",
        "/v1/",
        "/v1/sessions/",
        "/v1/sessions/a/b/c",
        "/v1/nothing/here",
        "/v1/runs/a\nb/x",
    ):
        assert resolve(address).func.view_class.__name__ == "UnknownPath"  # type: ignore[attr-defined]


def test_a_request_walks_past_few() -> None:
    nouns = [
        group
        for group in urlpatterns
        if isinstance(group, URLResolver) and str(group.pattern).startswith("v1/")
    ]
    assert max(len(group.url_patterns) for group in nouns) < len(FLAT) / 2

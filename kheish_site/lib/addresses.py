"""Addresses found by their first words, so that a request does not walk past every other's.

Django tries one pattern after the other. With some hundred of them that took as long as a statement on
every request.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from django.urls import URLPattern, URLResolver, include, path
from django.urls.resolvers import RoutePattern

API: Final = "/v1/"
"""Where every address of the API begins."""
_NOUN: Final = re.compile(r"v1/[a-z-]+/")
Address = URLPattern | URLResolver


def by_noun(patterns: Iterable[Address]) -> Iterator[Address]:
    """Yield the same addresses; those under one ``v1/noun/`` as one, in their order among themselves.

    Names and reversing stay as they were. What has no such beginning comes last, in its order.
    """
    ordered = sorted(patterns, key=_noun)
    for noun, group in groupby(ordered, key=_noun):
        if noun != _NONE:
            yield path(noun, include([_within(noun, pattern) for pattern in group]))
        else:
            yield from group


def _noun(pattern: Address) -> str:
    found = _NOUN.match(str(pattern.pattern)) if isinstance(pattern.pattern, RoutePattern) else None
    return found[0] if found and isinstance(pattern, URLPattern) else _NONE


_NONE: Final = "~"
"""After every noun."""


def _within(noun: str, pattern: Address) -> URLPattern:
    assert isinstance(pattern, URLPattern)
    rest = str(pattern.pattern).removeprefix(noun)
    return path(rest, pattern.callback, pattern.default_args, pattern.name)

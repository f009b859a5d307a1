"""One world for the tests of a file: to make it takes longer than to ask it everything."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import TransactionTestCase

from tests.fuzz.world import World, make_world
from tests.support.emptying import empty_tables


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """The rows, committed; what a test changes is taken back with its transaction.

    Around the file there must be none: streams of all sessions, in the tests beside these, wait for the
    oldest transaction of the whole PostgreSQL.
    """
    with django_db_blocker.unblock():
        try:
            yield make_world()
        finally:
            empty_tables(TransactionTestCase())

"""One world for the tests of a file: to make it takes longer than to ask it everything."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction

from tests.fuzz.world import World, make_world


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[World]:
    """The rows, in a transaction around those of the tests: what a test changes it takes back."""
    with django_db_blocker.unblock():
        outer = transaction.atomic()
        outer._from_testcase = True  # durable blocks may open in it, as in Django's own TestCase
        with outer:
            yield make_world()
            transaction.set_rollback(True)

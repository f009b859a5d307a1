"""What a test that commits leaves to the next one: nothing."""

import pytest
from django.apps import apps
from django.contrib.auth.models import Permission
from django.test import TransactionTestCase

from tests.factories import make_asset, make_run, make_session
from tests.support.emptying import KEPT, empty_tables


@pytest.mark.django_db(transaction=True)
def test_every_row_goes_and_permissions_stay() -> None:
    make_run(make_session())
    make_asset()
    empty_tables(TransactionTestCase())
    emptied = [model for model in apps.get_models() if model._meta.db_table not in KEPT]
    assert not [model for model in emptied if model.objects.exists()]
    assert Permission.objects.exists()

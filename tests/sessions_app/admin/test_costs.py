"""A page costs the same number of statements whatever it lists."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app.admin.base import COUNTED, BoundedPaginator
from sessions_app.models import JournalEntry
from tests.factories import make_persona, make_secret
from tests.sessions_app.admin.conftest import (
    Desk,
    drive,
    waiting_approval,
    waiting_decision,
    waiting_question,
)

pytestmark = pytest.mark.django_db(transaction=True)
MODELS = [model._meta.model_name for model in apps.get_app_config("sessions_app").get_models()]


def fill(number: int) -> None:
    for n in range(number):
        (
            waiting_approval(f"a-{number}-{n}"),
            waiting_question(f"q-{number}-{n}"),
            waiting_decision(f"d-{number}-{n}"),
        )
        drive({"text": "", "fault": {"kind": "invalid"}}, session_id=f"f-{number}-{n}")
        make_persona(f"p-{number}-{n}"), make_secret(f"s-{number}-{n}", f"canary-{number}-{n}-value")


def cost(client: Any, url: str) -> int:
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


def test_no_list_and_no_overview_costs_a_query_per_row(desk: Desk) -> None:
    client = desk("admin")
    urls = {name: reverse(f"admin:sessions_app_{name}_changelist") for name in MODELS} | {
        "home": reverse("admin:index")
    }
    fill(1)
    before = {name: cost(client, url) for name, url in urls.items()}
    fill(3)
    after = {name: cost(client, url) for name, url in urls.items()}
    assert after == before
    assert max(after.values()) <= 24, after


def test_large_tables_are_counted_no_further_than_is_useful() -> None:
    page = admin.site._registry[JournalEntry]
    assert page.paginator is BoundedPaginator
    assert not page.show_full_result_count
    with CaptureQueriesContext(connection) as captured:
        assert BoundedPaginator(JournalEntry.objects.order_by("-pk"), 50).count == 0
    assert f"LIMIT {COUNTED}" in captured[0]["sql"]

"""Captures on the operator's desk: read by all, changed by verbs, and no secret on any page."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from connectors_app.models import (
    Materialization,
    MaterializationSchedule,
    Observation,
    ObservationSource,
    ObservationToken,
)
from connectors_app.services.observations import materialize, schedules, source_tokens
from connectors_app.services.observations.materialize import Order
from connectors_app.services.observations.schedules import NewSchedule
from connectors_app.services.observations.selection import Selection
from sessions_app.admin import addresses
from sessions_app.admin.base import ConsoleAdmin
from tests.connectors_app.observations.rows import make_source, see
from tests.factories import make_route, make_session
from tests.sessions_app.admin.conftest import Desk, desk, workspaces

__all__ = ["desk", "workspaces"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

MODELS = (ObservationSource, ObservationToken, Observation, MaterializationSchedule, Materialization)
UNSAFE = (models.JSONField, models.TextField)


def page(model: type[models.Model], what: str, *args: object) -> str:
    return reverse(f"admin:connectors_app_{model._meta.model_name}_{what}", args=args)


def make_all(**fields: Any) -> tuple[Observation, str]:
    """A row of each table; the observation and the source's token."""
    make_route()
    make_session("desk")
    source, token = make_source("cam", **fields)
    row = see(source, file_name="canary-name.png", metadata={"window": "canary-window"})
    schedules.create(
        source, NewSchedule(session_id="desk", prompt="Look.", interval_seconds=60), principal="alice"
    )
    chosen = Selection(selector={"type": "latest_from_source", "source_id": "cam"})
    materialize.materialize(Order(session_id="desk", prompt="Look.", chosen=chosen), principal="alice")
    return row, token


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_table_has_a_read_only_page(model: Any, desk: Desk, rf: Any) -> None:
    answer = desk("viewer").get(page(model, "changelist"))
    shown = admin.site._registry[model]
    assert isinstance(shown, ConsoleAdmin) and shown.plural and shown.singular and shown.empty
    assert not shown.has_add_permission(rf.get("/")) and not shown.has_change_permission(rf.get("/"))
    raw = {field.name for field in model._meta.get_fields() if isinstance(field, UNSAFE)}
    assert not {*shown.list_display, *(shown.fields or ())} & (raw | {"secret_hash"})
    assert shown.empty.split(".")[0] in answer.content.decode().replace("&#x27;", "'")


def test_no_page_shows_a_token_and_viewers_see_no_sensitive_fact(desk: Desk) -> None:
    row, token = make_all()
    hashed = ObservationToken.objects.get().secret_hash

    def read(client: Client) -> str:
        pages = []
        for model in MODELS:
            pages.append(client.get(page(model, "changelist")))
            for item in apps.get_model("connectors_app", model.__name__).objects.all():
                pages.append(client.get(addresses.of(item)))
        assert {answer.status_code for answer in pages} == {200}
        return "".join(answer.content.decode() for answer in pages)

    seen, known = read(desk("viewer")), read(desk("operator"))
    assert row.observation_id in seen and "canary" not in seen and row.sha256 not in seen
    assert "canary-window" in known and "canary-name.png" in known
    for secret in (token, hashed):
        assert secret not in seen + known


def test_a_source_is_made_and_its_token_shown_once(desk: Desk) -> None:
    root = desk("admin")
    form = {
        "confirmed": "yes", "source_id": "cam", "kind": "screen_snapshot", "sensitive": "on",
        "retention_days": "7", "retention_count": "5", "retention_bytes": "1000", "burst_count": "1",
        "burst_seconds": "1", "enabled": "on",
    }  # fmt: skip
    answer = root.post(page(ObservationSource, "new", "source"), form)
    assert "ko_" in answer.content.decode() and "no-store" in answer["Cache-Control"]
    source = ObservationSource.objects.get()
    assert (source.retention_count, source.allow_materialization, source.created_by) == (5, False, "admin")
    rotated = root.post(addresses.of_verb(source, "rotate"), {"confirmed": "yes", "grace_seconds": "60"})
    assert "ko_" in rotated.content.decode()
    assert source_tokens.live(source).count() == 2
    root.post(addresses.of_verb(source, "revoke"), {"confirmed": "yes"})
    assert source_tokens.live(source).count() == 0
    changed = {**form, "retention_count": "6", "enabled": "", "revision": "1"}
    root.post(addresses.of_verb(source, "change"), changed)
    source.refresh_from_db()
    assert source.retention_count == 6 and source.disabled_at is not None
    root.post(addresses.of_verb(source, "delete"), {"confirmed": "yes"})
    assert not ObservationSource.objects.exists()


def test_purging_and_unscheduling(desk: Desk) -> None:
    row, _ = make_all(allow_raw_purge=True)
    look = MaterializationSchedule.objects.get()
    purge = addresses.of_verb(row, "purge")
    operator, root = desk("operator"), desk("admin")
    assert operator.post(purge, {"confirmed": "yes"}).status_code == 403
    root.post(purge, {"confirmed": "yes"})
    row.refresh_from_db()
    assert row.purge_reason == "request"
    operator.post(addresses.of_verb(look, "delete"), {"confirmed": "yes"})
    assert not MaterializationSchedule.objects.exists()

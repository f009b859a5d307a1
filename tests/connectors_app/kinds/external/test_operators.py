"""What operators read of sidecars, and which slots a connector keeps from being deleted."""

from typing import Any

import pytest

from connectors_app.kinds.external import leases
from connectors_app.models import SidecarState, SidecarStatus
from kheish_site.lib import clock
from sessions_app.services import secrets
from tests.connectors_app.kinds.external.rows import make_external, push
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db
METRICS = "/v1/runtime/connectors/external/metrics"


def make_child(**settings: Any) -> Any:
    secrets.put("mail-password", provider="mail", value="swordfish-4711-canary")
    child = {"command": "true", "credential_slots": {"EMAIL_PASSWORD": "mail-password"}}
    return make_external(
        mode="child_process", base_url="http://127.0.0.1:8931", child_process=child, **settings
    )


def samples(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))


def test_the_metrics_of_all() -> None:
    connector = make_child()
    SidecarState.objects.create(
        connector=connector, status=SidecarStatus.RUNNING, instance_id="i-1", restarts=3, since=clock.now()
    )
    leases.issue(connector)
    for _ in range(3):
        push()
    push(event_id="")
    make_external("idle")
    answer = make_client("viewer").get(METRICS)
    refused = 'events_refused_total{connector="mail",code="external_event_rejected"}'
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert samples(answer.content.decode()) == {
        'kheish_external_connector_up{connector="mail"}': "1",
        'kheish_external_connector_restarts_total{connector="mail"}': "3",
        'kheish_external_connector_events_kept{connector="mail"}': "1",
        'kheish_external_connector_duplicates_kept{connector="mail"}': "2",
        f"kheish_external_connector_{refused}": "1",
        'kheish_external_connector_credential_leases{connector="mail"}': "1",
    }


def test_the_state_of_one() -> None:
    client = make_client("viewer")
    address = "/v1/runtime/connectors/external/mail/sidecar"
    assert code_of(client.get(address)) == "connector_not_found"
    connector = make_child()
    assert client.get(address).json()["status"] == ""
    leases.issue(connector)
    SidecarState.objects.create(
        connector=connector,
        status=SidecarStatus.BACKOFF,
        last_error="it ended",
        restarts=1,
        since=clock.now(),
    )
    said = client.get(address).json()
    assert (said["status"], said["last_error"], said["restarts"]) == ("backoff", "it ended", 1)
    assert said["lease_expires_at"] > said["since"]


def test_a_slot_that_a_child_reads_cannot_be_deleted() -> None:
    make_child()
    refused = make_client("admin").delete("/v1/runtime/secrets/mail-password")
    assert (refused.status_code, code_of(refused)) == (409, "secret_in_use")
    assert refused.json()["referenced_by"] == ["connector:external/mail"]

"""What operators read of sidecars, and which slots a connector keeps from being deleted."""

from typing import Any

import pytest

from connectors_app.kinds.external import leases
from connectors_app.models import SidecarState, SidecarStatus
from connectors_app.services import connectors, health
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


@pytest.mark.parametrize(
    ("status", "last_error", "is_trouble"),
    [
        ("backoff", "not ready within 20 s: /manifest: refused", True),
        ("failed", "it ended with exit code 1", True),
        ("starting", "it ended with exit code 1", True),
        ("starting", "", False),
        ("running", "", False),
        ("stopped", "it ended with exit code 1", False),
    ],
)
def test_a_sidecar_that_does_not_run_is_its_connectors_trouble(
    status: str, last_error: str, is_trouble: bool
) -> None:
    connector, client = make_child(), make_client("viewer")
    SidecarState.objects.create(
        connector=connector, status=status, last_error=last_error, restarts=3, since=clock.now()
    )
    words = f"its sidecar does not run ({status}, restarts: 3): {last_error}"
    [listed] = client.get("/v1/runtime/connectors").json()["items"]
    assert (listed["status"], listed["problems"]) == (("error", [words]) if is_trouble else ("ok", []))
    said = client.get("/v1/status").json()
    warnings = [one for one in said["health"]["warnings"] if one["code"] == "connector_not_working"]
    assert [one["message"] for one in warnings] == [f"the connector external/mail: {words}"] * is_trouble
    assert said["connectors"] == {"enabled": 1, "with_problems": int(is_trouble)}


def test_a_connector_that_is_switched_off_is_no_trouble(django_assert_num_queries: Any) -> None:
    connector = make_child()
    SidecarState.objects.create(connector=connector, status=SidecarStatus.FAILED, since=clock.now())
    make_external("more")
    with django_assert_num_queries(3):
        assert len(health.status_part().warnings) == 1
    connectors.set_enabled("external", "mail", False)
    assert not health.status_part().warnings


def test_a_slot_that_a_child_reads_cannot_be_deleted() -> None:
    make_child()
    refused = make_client("admin").delete("/v1/runtime/secrets/mail-password")
    assert (refused.status_code, code_of(refused)) == (409, "secret_in_use")
    assert refused.json()["referenced_by"] == ["connector:external/mail"]

"""Credentials by lease: what a child may read, how long, and who may not."""

from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from connectors_app.kinds.external import leases
from connectors_app.models import Connector, ConnectorLease
from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from sessions_app.services import secrets
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.rows import TOKEN
from tests.factories import code_of

pytestmark = pytest.mark.django_db
VALUE = "swordfish-4711-canary"


def make_child(name: str = "mail", **slots: str) -> Connector:
    secrets.put("mail-password", provider="mail", value=VALUE)
    secrets.put("other-password", provider="mail", value="another-4711-canary")
    child = {"command": "true", "credential_slots": slots or {"EMAIL_PASSWORD": "mail-password"}}
    return make_external(name, mode="child_process", base_url="http://127.0.0.1:8931", child_process=child)


def ask(token: str, key: str = "EMAIL_PASSWORD", name: str = "mail") -> Any:
    client = APIClient()
    if token:
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client.get(f"/v1/connectors/external/{name}/credentials/{key}")


def test_the_child_reads_what_it_was_granted() -> None:
    issued = leases.issue(make_child())
    answer = ask(issued.token)
    assert answer.status_code == 200
    said = answer.json()
    lease = ConnectorLease.objects.get()
    assert said == {
        "value": VALUE,
        "lease_id": issued.lease_id,
        "grant_id": lease.grant_id,
        "expires_at_ms": int(lease.expires_at.timestamp() * 1000),
    }
    assert lease.expires_at - lease.issued_at == timedelta(minutes=5)
    assert answer["Cache-Control"] == "no-store"


def test_a_rotation_is_seen_at_once() -> None:
    issued = leases.issue(make_child())
    secrets.put("mail-password", provider="mail", value="rotated-4711-canary")
    assert ask(issued.token).json()["value"] == "rotated-4711-canary"


def test_of_the_token_only_a_hash_is_kept() -> None:
    issued = leases.issue(make_child())
    row = ConnectorLease.objects.values().get()
    assert row["token_hash"] == sha256_hex(issued.token)
    assert issued.token not in str(row)
    assert issued.token not in repr(issued)


@pytest.mark.parametrize("token", ["", "kh_lease_wrong", TOKEN])
def test_who_holds_no_lease_reads_nothing(token: str) -> None:
    leases.issue(make_child())
    refused = ask(token)
    assert (refused.status_code, code_of(refused)) == (401, "connector_lease_invalid")


def test_a_lease_runs_out_unless_it_is_renewed() -> None:
    issued = leases.issue(make_child())
    ConnectorLease.objects.update(expires_at=clock.now() + timedelta(seconds=1))
    assert leases.renew(issued.lease_id)
    assert ConnectorLease.objects.get().expires_at > clock.now() + timedelta(minutes=4)
    ConnectorLease.objects.update(expires_at=clock.now())
    assert ask(issued.token).status_code == 401
    assert not leases.renew(issued.lease_id)
    assert ask(issued.token).status_code == 401


def test_a_revoked_lease_never_comes_back() -> None:
    connector = make_child()
    issued = leases.issue(connector)
    leases.revoke(connector, lease_id=issued.lease_id)
    leases.revoke(connector, lease_id=issued.lease_id)
    assert ask(issued.token).status_code == 401
    assert not leases.renew(issued.lease_id)


def test_the_next_start_ends_the_lease_of_the_last() -> None:
    connector = make_child()
    first, second = leases.issue(connector), leases.issue(connector)
    assert ask(first.token).status_code == 401
    assert ask(second.token).status_code == 200
    ConnectorLease.objects.update(expires_at=clock.now() - timedelta(days=2))
    leases.issue(connector)
    assert ConnectorLease.objects.count() == 1


def test_a_lease_is_for_its_connector_alone() -> None:
    issued = leases.issue(make_child())
    make_child("other")
    assert ask(issued.token, name="other").status_code == 401


def test_a_slot_that_was_exchanged_needs_a_new_lease() -> None:
    issued = leases.issue(make_child())
    make_child(EMAIL_PASSWORD="other-password", MORE="mail-password")
    for key in ("EMAIL_PASSWORD", "MORE"):
        refused = ask(issued.token, key)
        assert (refused.status_code, code_of(refused)) == (401, "connector_lease_invalid")


def test_what_is_not_there_is_not_found() -> None:
    issued = leases.issue(make_child())
    assert code_of(ask(issued.token, "PATH")) == "connector_credential_not_found"
    assert code_of(ask(issued.token, name="nowhere")) == "connector_not_found"
    secrets.everything().filter(slot_id="mail-password").delete()
    assert code_of(ask(issued.token)) == "connector_credential_not_found"
    make_external(mode="remote_http", child_process=None)
    assert code_of(ask(issued.token)) == "connector_credential_not_found"

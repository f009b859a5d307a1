"""Who changed what outside sessions: every such change leaves one entry, with nothing secret in it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kheish_site.lib import clock
from sessions_app.models import AuditEntry, Persona
from sessions_app.services import audit, personas, routes, runtime_settings, secrets, tokens
from sessions_app.services.personas import PersonaFields
from sessions_app.services.principal import Principal
from tests.factories import code_of, make_client, make_persona, make_route, make_secret

pytestmark = pytest.mark.django_db

ADA = Principal(name="ada", role="admin", auth_method="session", remote_addr="10.0.0.9")


def last() -> AuditEntry:
    return AuditEntry.objects.order_by("-id")[0]


def said() -> tuple[str, str]:
    return last().action, last().object_id


def test_who_acts_is_known_from_the_request() -> None:
    client = make_client("admin", "root-token")
    client.post("/v1/personas", {"persona_id": "reviewer", "soul": "You review."})
    entry = last()
    assert (entry.action, entry.object_kind, entry.object_id) == ("persona.created", "persona", "reviewer")
    assert (entry.principal, entry.role, entry.auth_method) == ("root-token", "admin", "token")
    assert (entry.remote_addr, entry.request_id[:4]) == ("127.0.0.1", "req_")


def test_without_a_request_the_daemon_acted() -> None:
    make_persona()
    assert (last().principal, last().auth_method) == ("system", "system")
    with audit.acting(lambda: ADA):
        make_persona("other")
    assert (last().principal, last().remote_addr) == ("ada", "10.0.0.9")
    make_persona("third")
    assert last().principal == "system"


def test_only_what_differs_is_kept_and_never_the_soul() -> None:
    make_persona(soul="You review.", owner="team")
    personas.update("reviewer", {"soul": "You are kind.", "owner": "ops"}, principal="ada")
    entry = last()
    assert (entry.before["owner"], entry.after["owner"]) == ("team", "ops")
    assert set(entry.after) == {"owner", "soul_sha256", "revision"}
    assert "kind" not in str(entry.after)
    personas.retire("reviewer")
    personas.retire("reviewer")
    assert [row.action for row in AuditEntry.objects.order_by("id")] == [
        "persona.created", "persona.updated", "persona.retired",
    ]  # fmt: skip


def test_of_a_route_only_what_changed_is_recorded() -> None:
    make_route("main", model="a")
    make_route("other")
    routes.update("main", {"model": "b"})
    assert (last().before, last().after) == ({"model": "a"}, {"model": "b"})
    routes.update("main", {"model": "b"})
    assert AuditEntry.objects.filter(action="route.updated").count() == 1
    routes.set_default("other")
    assert last().after == {"is_default": True}
    routes.delete("main")
    assert said() == ("route.deleted", "main")


def test_secrets_without_their_values() -> None:
    make_secret("main-key", "canary-4711-value")
    make_secret("main-key", "canary-4712-value")
    secrets.delete("main-key")
    actions = [row.action for row in AuditEntry.objects.order_by("id")]
    assert actions == ["secret.stored", "secret.rotated", "secret.deleted"]
    assert "canary" not in str([audit.view(row) for row in AuditEntry.objects.all()])


def test_tokens_without_the_tokens() -> None:
    token, secret = tokens.create("ci", role="operator")
    assert last().after == {"name": "ci", "role": "operator", "rights": []}
    tokens.revoke(token.token_id)
    tokens.revoke(token.token_id)
    assert said() == ("token.revoked", token.token_id)
    assert AuditEntry.objects.count() == 2
    assert secret not in str([audit.view(row) for row in AuditEntry.objects.all()])


def test_runtime_settings() -> None:
    runtime_settings.change("permission-mode", {"mode": "plan"}, principal="ada")
    assert said() == ("runtime.changed", "permission-mode")
    assert (last().before, last().after) == ({"permission_mode": "default"}, {"permission_mode": "plan"})
    runtime_settings.rollback(0, principal="ada")
    assert said() == ("runtime.rolled_back", "rollback")


def test_a_change_that_fails_leaves_nothing() -> None:
    make_persona()
    with pytest.raises(personas.PersonaExists):
        personas.create("reviewer", PersonaFields())
    assert AuditEntry.objects.count() == 1


def test_a_long_value_is_its_digest_and_a_secret_is_masked() -> None:
    audit.record("route.updated", "route", "r", after={"options": "x" * 5_000, "api_key": "abcdef0123"})
    assert last().after["options"]["size"] == 5_002
    assert "abcdef0123" not in str(last().after)


def test_the_log_is_append_only() -> None:
    make_persona()
    entry = last()
    entry.principal = "mallory"
    with pytest.raises(TypeError):
        entry.save()
    with pytest.raises(TypeError):
        AuditEntry.objects.update(principal="mallory")
    assert Persona.objects.exists()


def test_old_entries_go_only_where_a_setting_says(settings: Any) -> None:
    make_persona()
    old = AuditEntry(entry_id="aud_old", at=clock.now() - timedelta(days=40), action="x.y", object_kind="x")
    old.save()
    assert audit.purge() == 0
    settings.KHEISH = replace(settings.KHEISH, keep_audit_days=30)
    assert audit.purge() == 1
    assert said() == ("persona.created", "reviewer")


def test_the_api_lists_it_for_admins() -> None:
    admin = make_client("admin", "root-token")
    admin.post("/v1/personas", {"persona_id": "reviewer"})
    make_route("main")
    page = admin.get("/v1/audit-log?principal=root-token").json()
    assert [item["action"] for item in page["items"]] == ["persona.created"]
    of_route = admin.get("/v1/audit-log?object_kind=route&object_id=main").json()
    assert of_route["items"][0]["object_id"] == "main"
    assert admin.get("/v1/audit-log?action=token.created").json()["items"][0]["principal"] == "system"
    refused = make_client("operator").get("/v1/audit-log")
    assert (refused.status_code, code_of(refused)) == (403, "insufficient_access")

"""What is done to connectors, people of platforms, sources and targets is in the audit log."""

import pytest

from connectors_app.services import connectors, identities
from connectors_app.services.observations import source_tokens, sources
from connectors_app.services.observations.sources import SourceFields
from sessions_app.models import AuditEntry
from sessions_app.services import audit, tokens
from sessions_app.services.principal import SYSTEM

pytestmark = pytest.mark.django_db

SECRET = "canary-audit-4711"


def actions() -> list[str]:
    rows = AuditEntry.objects.exclude(object_kind__in=["secret", "token"]).order_by("id")
    return list(rows.values_list("action", flat=True))


def test_a_connectors_life_and_no_secret_of_it() -> None:
    connectors.put("http", "alerts", {}, {"bearer_token": {"value": SECRET}}, principal="ada")
    connectors.put("http", "alerts", {"require_idempotency_key": False}, {}, principal="ada")
    connectors.set_paused("http", "alerts", True, principal="ada")
    connectors.set_paused("http", "alerts", True, principal="ada")
    connectors.set_paused("http", "alerts", False, principal="ada")
    connectors.set_enabled("http", "alerts", False)
    connectors.delete("http", "alerts")
    assert actions() == [
        "connector.created", "connector.updated", "connector.paused", "connector.resumed",
        "connector.disabled", "connector.deleted",
    ]  # fmt: skip
    assert SECRET not in str([audit.view(row) for row in AuditEntry.objects.all()])


def test_people_of_platforms() -> None:
    connector, _ = connectors.put("http", "chat", {}, {"bearer_token": {"value": SECRET}}, principal="ada")
    tokens.create("olga", role="operator")
    identities.put(connector, "U1", principal="olga", role="operator", by=SYSTEM)
    identities.delete(connector, "U1", by=SYSTEM)
    assert actions()[1:] == ["identity.mapped", "identity.unmapped"]


def test_sources_and_their_tokens() -> None:
    source, secret = sources.create("desk-cam", "screen_snapshot", SourceFields(), principal="ada")
    sources.update("desk-cam", {"retention_days": 3}, expected=None)
    changed = AuditEntry.objects.get(action="source.updated")
    assert (changed.before, changed.after) == ({"retention_days": 7}, {"retention_days": 3})
    _, other = source_tokens.rotate(source, principal="ada")
    source_tokens.revoke(source)
    sources.delete("desk-cam", expected=None)
    assert actions() == [
        "source.created", "source.updated", "source.token_rotated", "source.tokens_revoked", "source.deleted",
    ]  # fmt: skip
    shown = str([audit.view(row) for row in AuditEntry.objects.all()])
    assert secret not in shown
    assert other not in shown

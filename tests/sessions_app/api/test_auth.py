"""Who may call: tokens, logins, roles, CSRF."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from kheish_site.lib import clock
from kheish_site.lib.buckets import TokenBuckets
from sessions_app.models import ApiToken, AuditEntry
from sessions_app.services import access, tokens
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db

PATH = "/v1/personas"
BODY = {"persona_id": "reviewer"}


def with_header(value: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=value)
    return client


def login(*groups: str, superuser: bool = False) -> APIClient:
    user = User.objects.create_user("alice", is_superuser=superuser)
    for name in groups:
        user.groups.add(Group.objects.get_or_create(name=name)[0])
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    return client


def test_nobody_gets_a_challenge():
    answer = APIClient().get(PATH)
    assert (answer.status_code, code_of(answer)) == (401, "missing_token")
    assert answer["WWW-Authenticate"] == 'Bearer realm="kheish-daemon"'


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("Bearer", "malformed_token"),
        ("Bearer ", "malformed_token"),
        ("Basic YTpi", "malformed_token"),
        ("kh_abc", "malformed_token"),
        ("Bearer kh_unknown", "invalid_token"),
        ("Bearer \xff", "invalid_token"),
    ],
)
def test_a_wrong_header_is_refused(header, code):
    answer = with_header(header).get(PATH)
    assert (answer.status_code, code_of(answer)) == (401, code)
    assert "kh_" not in answer.json()["detail"].replace("kh_...", "")


def test_a_wrong_header_is_not_rescued_by_a_login():
    client = login("admin")
    client.credentials(HTTP_AUTHORIZATION="Bearer kh_unknown")
    assert client.get(PATH).status_code == 401


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_every_role_reads(role):
    assert make_client(role).get(PATH).status_code == 200


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_configuration_is_for_admins(role):
    answer = make_client(role).post(PATH, BODY)
    assert (answer.status_code, code_of(answer)) == (403, "insufficient_access")
    assert answer.json()["required_role"] == "admin"


def test_revoked_and_expired_tokens_are_unknown():
    revoked, secret = tokens.create("a", role="admin")
    tokens.revoke(revoked.token_id)
    assert with_header(f"Bearer {secret}").get(PATH).status_code == 401
    expired, secret = tokens.create("b", role="admin")
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=clock.now() - timedelta(seconds=1))
    assert with_header(f"Bearer {secret}").get(PATH).status_code == 401


def test_use_is_recorded_once_a_minute(django_assert_num_queries):
    client = make_client("viewer", "watcher")
    client.get("/v1/capabilities")
    first = ApiToken.objects.get(name="watcher").last_used_at
    assert first is not None
    with django_assert_num_queries(1):
        client.get("/v1/capabilities")
    assert ApiToken.objects.get(name="watcher").last_used_at == first


def test_secrets_are_stored_hashed():
    token, secret = tokens.create("a", role="admin")
    assert secret.startswith("kh_")
    assert len(secret) == 46
    assert secret not in str(ApiToken.objects.filter(pk=token.pk).values())


@pytest.mark.parametrize(
    ("groups", "superuser", "status"),
    [((), False, 403), (("viewer",), False, 200), (("operator", "viewer"), False, 200), ((), True, 200)],
)
def test_a_person_has_the_role_of_their_groups(groups, superuser, status):
    assert login(*groups, superuser=superuser).get(PATH).status_code == status


def test_a_login_needs_the_csrf_token_to_write():
    answer = login("admin").post(PATH, BODY)
    assert (answer.status_code, code_of(answer)) == (403, "csrf_failed")


def test_a_login_with_the_csrf_token_writes():
    client = login("admin")
    client.cookies["kheish_csrf"] = "a" * 32
    answer = client.post(PATH, BODY, headers={"X-CSRFToken": "a" * 32})
    assert answer.status_code == 201, answer.content
    assert answer.json()["owner"] == "alice"


def test_local_token_is_made_kept_and_repaired(tmp_path):
    file = tmp_path / "operator.token"
    tokens.ensure_local_token(file)
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert with_header(f"Bearer {first.strip()}").get(PATH).status_code == 200
    tokens.ensure_local_token(file)
    assert file.read_text() == first
    file.unlink()
    tokens.ensure_local_token(file)
    assert file.read_text() != first
    assert with_header(f"Bearer {first.strip()}").get(PATH).status_code == 401
    file.write_text("kh_something else")
    tokens.ensure_local_token(file)
    assert with_header(f"Bearer {file.read_text().strip()}").get(PATH).status_code == 200
    assert ApiToken.objects.filter(name="local", revoked_at__isnull=True).count() == 1


def test_wrong_tokens_from_one_address_are_limited_and_right_ones_are_not(monkeypatch, caplog):
    for buckets in ("_FAILURES", "_LIMITS"):
        monkeypatch.setattr(access, buckets, TokenBuckets())
    monkeypatch.setattr(access, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    wrong = with_header("Bearer kh_wrong")
    with caplog.at_level("WARNING", logger="sessions_app.services.access"):
        assert {wrong.get(PATH).status_code for _ in range(60)} == {401}
        refused, _ = wrong.get(PATH), wrong.get(PATH)
    assert (refused.status_code, code_of(refused), refused["Retry-After"]) == (429, "auth_rate_limited", "60")
    assert [(line.remote_addr, line.reason) for line in caplog.records] == [
        ("127.0.0.1", "invalid_token")
    ] * 60
    kept = AuditEntry.objects.get(action="address.limited")
    assert (kept.principal, kept.object_id, kept.reason) == ("anonymous", "127.0.0.1", "invalid_token")
    assert wrong.get(PATH, REMOTE_ADDR="203.0.113.9").status_code == 401
    assert make_client("viewer").get(PATH).status_code == 200

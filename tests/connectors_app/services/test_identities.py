"""Who a person of a platform is: never more than the account or token behind the mapping holds now."""

from typing import Any

import pytest

from connectors_app.services import connectors, identities
from kheish_site.lib.errors import BadRequest, Forbidden, NotFound
from sessions_app.models import ApiToken
from sessions_app.services import tokens
from sessions_app.services.principal import SYSTEM, Principal
from tests.connectors_app.people import make_account, make_connector, make_person
from tests.sessions_app.api.rows import make_run, make_session

pytestmark = pytest.mark.django_db


def role_now(connector: Any, person: str = "U1") -> str | None:
    who = identities.principal_for(connector, person)
    return None if who is None else str(who.role)


def test_a_mapped_person_acts_as_the_principal() -> None:
    connector = make_connector()
    make_person(connector, "U1", "alice")
    who = identities.principal_for(connector, "U1")
    assert who == Principal(
        name="alice", role="operator", auth_method="chat", remote_addr="slack:ops:U1",
        rights=frozenset({"decide_high_risk"}),
    )  # fmt: skip
    there = identities.principal_for(connector, "U1", remote_addr="10.0.0.9")
    assert there is not None and there.remote_addr == "slack:ops:U1 via 10.0.0.9"


def test_strangers_are_nobody_also_at_another_connector() -> None:
    make_person(make_connector(), "U1", "alice")
    assert identities.principal_for(make_connector("dev"), "U1") is None
    assert identities.principal_for(make_connector("ops", "telegram"), "U1") is None


@pytest.mark.parametrize(
    ("mapped", "held", "may"),
    [
        ("viewer", "admin", "viewer"),
        ("operator", "admin", "operator"),
        ("admin", "operator", "operator"),
        ("admin", "admin", "admin"),
        ("operator", "viewer", "viewer"),
    ],
)
def test_the_lesser_role_counts(mapped: str, held: str, may: str) -> None:
    connector = make_connector()
    make_person(connector, "U1", "alice", mapped, held=held)
    make_account("bob", held)
    make_person(connector, "U2", "bob", mapped)
    assert (role_now(connector), role_now(connector, "U2")) == (may, may)


def test_a_role_lost_is_lost_in_the_chat_too() -> None:
    connector, user = make_connector(), make_account("alice", "admin")
    make_person(connector, "U1", "alice", "admin")
    assert role_now(connector) == "admin"
    user.groups.clear()
    assert role_now(connector) == ""
    user.is_active = False
    user.save()
    assert role_now(connector) is None


def test_a_superuser_is_an_admin() -> None:
    connector, user = make_connector(), make_account("root", "viewer")
    user.is_superuser = True
    user.save()
    make_person(connector, "U1", "root", "admin")
    assert role_now(connector) == "admin"


def test_a_revoked_or_expired_token_is_nobody() -> None:
    connector = make_connector()
    make_person(connector, "U1", "ci")
    token = ApiToken.objects.get(name="ci")
    ApiToken.objects.filter(pk=token.pk).update(expires_at="2020-01-01T00:00Z")
    assert role_now(connector) is None
    ApiToken.objects.filter(pk=token.pk).update(expires_at=None)
    assert role_now(connector) == "operator"
    tokens.revoke(token.token_id)
    assert role_now(connector) is None


def test_a_deactivated_account_ends_a_token_of_its_name() -> None:
    connector = make_connector()
    make_person(connector, "U1", "alice", "admin")
    user = make_account("alice", "viewer")
    assert role_now(connector) == "viewer"
    user.is_active = False
    user.save()
    assert role_now(connector) is None


def test_where_a_vote_came_from_has_room() -> None:
    connector = make_connector("n" * 100)
    make_person(connector, "U" * 200, "alice")
    who = identities.principal_for(connector, "U" * 200, "2001:db8::1")
    assert who is not None and len(who.remote_addr) <= 64
    make_person(connector, "U0123456789", "alice")
    who = identities.principal_for(connector, "U0123456789")
    assert who is not None and len(who.remote_addr) == 64 and who.remote_addr.endswith(":U0123456789")


def test_nobody_maps_a_role_above_their_own() -> None:
    connector = make_connector()
    tokens.create("alice", role="admin")
    operator = Principal(name="olga", role="operator", auth_method="token")
    with pytest.raises(Forbidden) as refused:
        identities.put(connector, "U1", principal="alice", role="admin", by=operator)
    assert refused.value.error_code == "identity_role_forbidden"
    assert role_now(connector) is None


@pytest.mark.parametrize("principal", ["nobody", "system", ""])
def test_unknown_names_are_refused(principal: str) -> None:
    with pytest.raises(BadRequest) as refused:
        identities.put(make_connector(), "U1", principal=principal, role="operator", by=SYSTEM)
    assert refused.value.error_code == "invalid_identity"


@pytest.mark.parametrize("person", ["", " U1", "U1\n", "a/b", "x" * 201, "U\u202e1"])
def test_unusable_ids_are_refused(person: str) -> None:
    tokens.create("alice", role="operator")
    with pytest.raises(BadRequest):
        identities.put(make_connector(), person, principal="alice", role="operator", by=SYSTEM)


def test_a_mapping_is_replaced_and_forgotten() -> None:
    connector = make_connector()
    make_person(connector, "U1", "alice")
    make_person(connector, "U1", "bob", "viewer")
    assert identities.requester(connector, "U1") == "bob"
    assert [row.principal for row in identities.everything(connector)] == ["bob"]
    identities.delete(connector, "U1", by=SYSTEM)
    assert (identities.requester(connector, "U1"), role_now(connector)) == ("", None)
    with pytest.raises(NotFound):
        identities.delete(connector, "U1", by=SYSTEM)


def test_nobody_is_known_where_anybody_may_say_who_they_are() -> None:
    connector = make_connector("open", "http", allow_unauthenticated_ingress=False)
    make_person(connector, "boss", "alice")
    assert identities.requester(connector, "boss") == "alice"
    run = make_run(make_session(), source_plugin="http", actor_id="boss")
    assert identities.asked_for(run, "alice")
    connector.settings["allow_unauthenticated_ingress"] = True
    connector.secrets = {}
    connector.save()
    assert identities.requester(connector, "boss") == ""
    assert not identities.asked_for(run, "alice")


def test_a_removed_connector_forgets_everybody() -> None:
    connector = make_connector()
    make_person(connector, "U1", "alice")
    connectors.delete("slack", "ops")
    assert role_now(connector) is None


def test_views_of_many_cost_the_same(django_assert_num_queries: Any) -> None:
    connector = make_connector()
    for number in range(8):
        make_person(connector, f"U{number}", f"alice-{number}")
        make_account(f"bob-{number}", "viewer")
        make_person(connector, f"V{number}", f"bob-{number}")
    rows = list(identities.everything(connector))
    with django_assert_num_queries(3):
        shown = {view["external_id"]: view["effective_role"] for view in identities.views(rows)}
    assert (shown["U3"], shown["V3"], len(shown)) == ("operator", "viewer", 16)

"""/v1/runtime/connectors/{kind}/{name}/identities."""

import pytest

from sessions_app.services import tokens
from tests.connectors_app.people import make_connector, make_person
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db

PATH = "/v1/runtime/connectors/slack/ops/identities"
BODY = {"principal": "alice", "role": "operator"}


@pytest.fixture(autouse=True)
def connector():
    tokens.create("alice", role="admin")
    return make_connector()


def test_put_get_list_delete():
    admin = make_client("admin", "boss")
    made = admin.put(f"{PATH}/U1", BODY)
    assert made.status_code == 201, made.content
    assert made["Location"] == f"{PATH}/U1"
    wanted = {"external_id": "U1", "kind": "slack", "name": "ops", **BODY, "effective_role": "operator"}
    assert made.json().items() >= {**wanted, "created_by": "boss"}.items()
    assert admin.put(f"{PATH}/U1", BODY | {"role": "viewer"}).status_code == 200
    assert admin.get(f"{PATH}/U1").json()["effective_role"] == "viewer"
    assert [item["external_id"] for item in admin.get(PATH).json()["items"]] == ["U1"]
    assert admin.delete(f"{PATH}/U1").status_code == 204
    assert code_of(admin.delete(f"{PATH}/U1")) == "identity_not_found"
    assert code_of(admin.get(f"{PATH}/U1")) == "identity_not_found"


def test_only_admins_write_and_strangers_see_nothing():
    for role in ("viewer", "operator"):
        assert make_client(role).put(f"{PATH}/U1", BODY).status_code == 403
        assert make_client(role).delete(f"{PATH}/U1").status_code == 403
        assert make_client(role).get(PATH).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"principal": "alice"}, BODY | {"role": "root"}, BODY | {"more": 1}, BODY | {"principal": 7}],
)
def test_bodies_that_break_the_schema(body):
    answer = make_client().put(f"{PATH}/U1", body)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


def test_an_unknown_principal_and_an_unknown_connector():
    admin = make_client()
    assert code_of(admin.put(f"{PATH}/U1", BODY | {"principal": "nobody"})) == "invalid_identity"
    assert code_of(admin.get("/v1/runtime/connectors/slack/none/identities")) == "connector_not_found"
    assert (
        code_of(admin.put("/v1/runtime/connectors/slack/none/identities/U1", BODY)) == "connector_not_found"
    )


def test_ids_that_need_quoting(connector):
    admin = make_client()
    made = admin.put(f"{PATH}/%40ann%3Aexample.org%20x", BODY)
    assert made.status_code == 201, made.content
    assert made["Location"] == f"{PATH}/%40ann%3Aexample.org%20x"
    assert admin.get(made["Location"]).json()["external_id"] == "@ann:example.org x"


def test_pages_cost_the_same(connector, django_assert_max_num_queries):
    for number in range(30):
        make_person(connector, f"U{number:02}", "alice")
    client = make_client()
    with django_assert_max_num_queries(8):
        page = client.get(f"{PATH}?limit=25").json()
    assert len(page["items"]) == 25 and page["pagination"]["has_more"]

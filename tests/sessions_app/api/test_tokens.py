"""/v1/tokens."""

import pytest
from django.contrib.auth.models import User

from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db

PATH = "/v1/tokens"


def test_create_shows_the_secret_once():
    client = make_client(name="alice")
    body = {"name": "ci", "role": "operator", "expires_at": "2999-01-01T00:00:00Z"}
    made = client.post(PATH, body)
    assert made.status_code == 201, made.content
    view = made.json()
    assert view["token"].startswith("kh_")
    assert (view["created_by"], view["expires_at"]) == ("alice", "2999-01-01T00:00:00.000Z")
    shown = client.get(f"{PATH}/{view['token_id']}")
    assert "token" not in shown.json()
    assert "secret" not in shown.content.decode()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "ci"}, "invalid_request"),
        ({"name": "ci", "role": "root"}, "invalid_request"),
        ({"name": "ci", "role": "admin", "expires_at": "soon"}, "invalid_request"),
        ({"name": "ci", "role": "admin", "expires_at": "2001-01-01T00:00:00Z"}, "invalid_token_request"),
        ({"name": "local", "role": "admin"}, "token_name_taken"),
        ({"name": "bob", "role": "admin"}, "token_name_taken"),
        ({"name": "daemon", "role": "admin"}, "token_name_taken"),
    ],
)
def test_a_bad_request_or_a_taken_name_is_refused(body, code):
    User.objects.create_user("bob")
    assert code_of(make_client().post(PATH, body)) == code


@pytest.mark.parametrize("name", ["a b", "-a", "a/b"])
def test_a_name_that_cannot_be_one_is_told_in_words(name):
    answer = make_client().post(PATH, {"name": name, "role": "viewer"})
    assert code_of(answer) == "invalid_request"
    told = "must be letters, digits and . _ : @ - alone, and begin with a letter or a digit"
    assert answer.json()["errors"] == [{"pointer": "/name", "detail": told}]


def test_a_name_is_free_again_after_revoking():
    client = make_client()
    first = client.post(PATH, {"name": "ci", "role": "viewer"}).json()
    assert code_of(client.post(PATH, {"name": "ci", "role": "viewer"})) == "token_name_taken"
    revoked = client.delete(f"{PATH}/{first['token_id']}").json()
    again = client.delete(f"{PATH}/{first['token_id']}").json()
    assert revoked["status"] == "revoked"
    assert again["revoked_at"] == revoked["revoked_at"]
    assert client.post(PATH, {"name": "ci", "role": "viewer"}).status_code == 201


def test_only_admins_see_them():
    assert make_client("operator").get(PATH).status_code == 403
    items = make_client("admin", "root").get(PATH).json()["items"]
    assert items[0]["name"] == "root"


def test_a_token_that_is_not_there_is_404():
    client = make_client()
    assert code_of(client.get(f"{PATH}/tok_x")) == "token_not_found"
    assert code_of(client.delete(f"{PATH}/tok_x")) == "token_not_found"

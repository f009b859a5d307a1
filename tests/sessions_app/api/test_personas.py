"""/v1/personas."""

import pytest

from sessions_app.models import Session
from sessions_app.services import sessions
from tests.factories import code_of, make_client, make_persona, make_session

pytestmark = pytest.mark.django_db

PATH = "/v1/personas"


def put(client, changes, match='"1"'):
    headers = {"if-match": match} if match else {}
    return client.put(f"{PATH}/reviewer", changes, headers=headers)


def test_a_new_persona_is_201_with_its_first_revision():
    body = {"persona_id": "reviewer", "display_name": "Reviewer", "soul": "You review.", "metadata": {"a": 1}}
    answer = make_client().post(PATH, body)
    assert answer.status_code == 201, answer.content
    assert (answer["Location"], answer["ETag"]) == ("/v1/personas/reviewer", '"1"')
    view = answer.json()
    assert view | body == view
    assert (view["revision"], view["status"], view["sessions"]) == (1, "active", 0)
    assert view["created_at"].endswith("Z")


def test_create_twice_is_409():
    make_persona()
    assert code_of(make_client().post(PATH, {"persona_id": "reviewer"})) == "persona_exists"


@pytest.mark.parametrize("persona_id", ["", ".", "..", "a/b", "a b", "é", 5, None, "x" * 201])
def test_an_id_that_cannot_stand_in_a_path_is_refused(persona_id):
    answer = make_client().post(PATH, {"persona_id": persona_id})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("scope", "code"),
    [({"skill_allow": "a"}, "invalid_scope"), ({"nothing": []}, "invalid_scope"), ([], "invalid_request")],
)
def test_a_scope_that_is_none_is_refused(scope, code):
    answer = make_client().post(PATH, {"persona_id": "a", "capability_scope": scope})
    assert (answer.status_code, code_of(answer)) == (400, code)


def test_scope_has_one_normal_form():
    scope = {"skill_allow": [" b ", "a", "b"], "skill_deny": ["x", "*"], "mcp_tool_allow": []}
    answer = make_client().post(PATH, {"persona_id": "a", "capability_scope": scope})
    assert answer.json()["capability_scope"] == {"skill_allow": ["a", "b"], "skill_deny": ["*"]}


def test_a_persona_that_is_not_there_is_404():
    assert code_of(make_client().get(f"{PATH}/nobody")) == "persona_not_found"


def test_update_adds_a_revision_and_keeps_the_rest():
    make_persona(soul="Be kind.", owner="team")
    answer = put(make_client(), {"display_name": "Night reviewer"})
    assert (answer.status_code, answer["ETag"]) == (200, '"2"')
    view = answer.json()
    assert (view["soul"], view["owner"], view["display_name"]) == ("Be kind.", "team", "Night reviewer")
    assert [(r["revision"], r["status"]) for r in view["revisions"]] == [(2, "active"), (1, "retired")]


@pytest.mark.parametrize(
    ("match", "status", "code"),
    [
        ("", 428, "precondition_required"),
        ('"7"', 412, "precondition_failed"),
        ('W/"1"', 412, "precondition_failed"),
        ('"elsewhere"', 412, "precondition_failed"),
        ("1", 400, "invalid_if_match"),
    ],
)
def test_update_needs_the_version_seen(match, status, code):
    make_persona()
    answer = put(make_client(), {"owner": "me"}, match)
    assert (answer.status_code, code_of(answer)) == (status, code)


@pytest.mark.parametrize("match", ["*", '"1"', '"7", "1"'])
def test_update_with_a_match(match):
    make_persona()
    assert put(make_client(), {"owner": "me"}, match).status_code == 200


def test_update_with_nothing():
    make_persona()
    assert code_of(put(make_client(), {})) == "invalid_request"


def test_sessions_keep_their_revision_and_it_drains():
    make_persona()
    make_session("desk", persona_id="reviewer")
    client = make_client()
    put(client, {"soul": "You review twice."})
    make_session("other", persona_id="reviewer")
    view = client.get(f"{PATH}/reviewer").json()
    assert [(r["status"], r["sessions"]) for r in view["revisions"]] == [("active", 1), ("draining", 1)]
    assert Session.objects.get(session_id="desk").persona.soul == "You review."
    sessions.end("desk", principal="alice", reason="")
    view = client.get(f"{PATH}/reviewer").json()
    assert [(r["status"], r["sessions"]) for r in view["revisions"]] == [("active", 1), ("retired", 0)]


def test_retire_drains_and_takes_no_edits():
    make_persona()
    make_session("desk", persona_id="reviewer")
    client = make_client()
    assert client.delete(f"{PATH}/reviewer").json()["status"] == "draining"
    again = client.delete(f"{PATH}/reviewer")
    assert (again.status_code, again.json()["status"]) == (200, "draining")
    assert code_of(put(client, {"owner": "me"})) == "persona_retired"
    assert code_of(client.post("/v1/sessions", {"persona_id": "reviewer"})) == "persona_not_found"


def test_list_pages_by_id():
    for name in ("c", "a", "b"):
        make_persona(name)
    client = make_client("viewer")
    first = client.get(f"{PATH}?limit=2").json()
    assert [item["persona_id"] for item in first["items"]] == ["a", "b"]
    page = first["pagination"]
    assert (page["limit"], page["total_count"], page["has_more"], page["order"]) == (2, 3, True, "asc")
    last = client.get(f"{PATH}?limit=2&cursor={page['next_cursor']}").json()
    assert [item["persona_id"] for item in last["items"]] == ["c"]
    assert last["pagination"] | {"has_more": False, "next_cursor": None} == last["pagination"]


def test_list_by_text():
    make_persona("a", display_name="Night Reviewer")
    make_persona("b", display_name="Writer")
    items = make_client().get(f"{PATH}?query=night").json()["items"]
    assert [item["persona_id"] for item in items] == ["a"]

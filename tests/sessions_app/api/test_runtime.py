"""/v1/runtime: revisions, conflicts, rollback; permission decisions explained."""

import pytest

from sessions_app.models import Approval, JournalEntry, Route, RuntimeRevision
from sessions_app.services import runtime_settings
from tests.factories import code_of, make_client, make_route, make_session

pytestmark = pytest.mark.django_db

PATH = "/v1/runtime"


def mode(client, value, **more):
    return client.post(f"{PATH}/permission-mode", {"mode": value, **more})


def test_a_fresh_installation():
    make_route()
    view = make_client("viewer").get(PATH).json()
    assert (view["permission_mode"], view["config"]) == ("default", {"revision": 0})
    assert (view["default_route"], view["provider"], view["model"]) == ("scripted", "scripted", "script")


def test_without_any_route():
    view = make_client().get(PATH).json()
    assert (view["default_route"], view["routes"]) == (None, [])


def test_each_change_is_a_revision():
    client = make_client(name="alice")
    assert mode(client, "acceptEdits").json()["config"]["revision"] == 1
    prompt = {"settings": {"append_prompt": "Be brief."}}
    view = client.post(f"{PATH}/system-prompt", prompt).json()
    assert view["system_prompt"] == {"override_prompt": "", "custom_prompt": "", "append_prompt": "Be brief."}
    assert (view["permission_mode"], view["config"]["revision"]) == ("acceptEdits", 2)
    items = client.get(f"{PATH}/revisions").json()["items"]
    assert [(i["revision"], i["setting"], i["created_by"]) for i in items] == [
        (2, "system-prompt", "alice"),
        (1, "permission-mode", "alice"),
    ]
    assert runtime_settings.system_prompt(runtime_settings.current()) == "Be brief."


def test_a_stale_revision_changes_nothing():
    client = make_client()
    mode(client, "plan", expected_revision=0)
    answer = mode(client, "dontAsk", expected_revision=0)
    assert (answer.status_code, code_of(answer)) == (409, "runtime_revision_conflict")
    assert answer.json()["current_revision"] == 1
    assert runtime_settings.current().permission_mode == "plan"


@pytest.mark.parametrize(
    ("setting", "body"),
    [
        ("permission-mode", {"expected_revision": 0}),
        ("permission-mode", {"mode": "yolo"}),
        ("model", {"expected_revision": 0}),
        ("model", {"route_id": "a", "provider": "b"}),
        ("system-prompt", {"settings": {"language": "fr"}}),
        ("system-prompt", {}),
        ("permission-rules", {"expected_revision": 0}),
        ("unknown-effects", {"mode": "guess"}),
    ],
)
def test_a_body_that_breaks_its_shape_changes_nothing(setting, body):
    answer = make_client().post(f"{PATH}/{setting}", body)
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")
    assert not RuntimeRevision.objects.exists()


def test_model_sets_the_default_route_and_its_model():
    make_route("a")
    make_route("b")
    client = make_client()
    view = client.post(f"{PATH}/model", {"provider": "b", "model": "big"}).json()
    assert (view["default_route"], view["model"]) == ("b", "big")
    assert client.post(f"{PATH}/model", {"model": "small"}).json()["model"] == "small"
    assert code_of(client.post(f"{PATH}/model", {"route_id": "nothing"})) == "route_not_found"


def test_rollback_appends_and_restores_the_routes():
    make_route("a")
    make_route("b")
    client = make_client()
    client.post(f"{PATH}/model", {"route_id": "a", "model": "one"})
    client.post(f"{PATH}/model", {"route_id": "b", "model": "two"})
    view = client.post(f"{PATH}/rollback", {}).json()
    assert (view["default_route"], view["model"], view["config"]["revision"]) == ("a", "one", 3)
    newest = client.get(f"{PATH}/revisions").json()["items"][0]
    assert (newest["setting"], newest["rollback_of_revision"]) == ("rollback", 1)
    assert Route.objects.get(is_default=True).model == "one"


def test_rollback_to_what_never_was():
    client = make_client()
    answer = client.post(f"{PATH}/rollback", {"target_revision": 9})
    assert (answer.status_code, code_of(answer)) == (404, "runtime_revision_not_found")
    mode(client, "plan")
    assert client.post(f"{PATH}/rollback", {"target_revision": 0}).json()["permission_mode"] == "default"
    assert code_of(client.post(f"{PATH}/rollback", {"expected_revision": 0})) == "runtime_revision_conflict"


def test_rollback_before_any_change():
    assert code_of(make_client().post(f"{PATH}/rollback", {})) == "runtime_revision_not_found"


def test_only_admins_change():
    client = make_client("operator")
    assert mode(client, "plan").status_code == 403
    assert client.get(f"{PATH}/revisions").status_code == 403


def test_rules_of_project_and_user():
    client = make_client()
    rule = {"tool_name_pattern": "web_*", "behavior": "deny", "reason": "no internet"}
    view = client.post(f"{PATH}/permission-rules", {"project": [rule]}).json()
    assert view["permission_rules"] == {"project": [rule], "user": []}
    found = client.post(f"{PATH}/permissions/check", {"tool_name": "web_fetch"}).json()
    assert (found["decision"], found["matched_rule_scope"]) == ("deny", "project")
    bad = client.post(f"{PATH}/permission-rules", {"user": [{"behavior": "deny"}]})
    assert code_of(bad) == "invalid_permission_rule"


def test_check_explains_and_leaves_nothing():
    make_session("desk", permission_mode="plan")
    before = JournalEntry.objects.count()
    body = {"tool_name": "bash", "input": {}, "session_id": "desk", "tool_call_id": "call-1"}
    found = make_client("viewer").post(f"{PATH}/permissions/check", body).json()
    assert (found["decision"], found["base_decision"], found["effective_mode"]) == ("deny", "ask", "plan")
    assert found["mode_effect"] == "plan_mode_denied_non_whitelisted_tool"
    assert (found["known_tool"], found["tool_call_id"]) == (True, "call-1")
    assert found["input_problems"]
    assert (found["hooks_evaluated"], found["hook_policy"]) == (False, "not_executed_in_dry_run")
    assert (JournalEntry.objects.count(), Approval.objects.count()) == (before, 0)


@pytest.mark.parametrize(
    ("tool", "wanted", "decision"),
    [("read_file", "default", "allow"), ("bash", "bypassPermissions", "allow"), ("bash", "dontAsk", "deny")],
)
def test_check_with_another_mode(tool, wanted, decision):
    body = {"tool_name": tool, "mode_override": wanted}
    assert make_client().post(f"{PATH}/permissions/check", body).json()["decision"] == decision


def test_the_matrix_has_each_tool_in_each_mode():
    found = make_client().post(f"{PATH}/permissions/matrix", {}).json()
    assert found["tools"]["write_file"]["acceptEdits"]["decision"] == "allow"
    assert found["tools"]["write_file"]["default"]["decision"] == "ask"
    assert found["effective_mode"] == "default"


@pytest.mark.parametrize("verb", ["check", "matrix"])
def test_unknown_session(verb):
    body = {"session_id": "nothing"} | ({"tool_name": "bash"} if verb == "check" else {})
    assert code_of(make_client().post(f"{PATH}/permissions/{verb}", body)) == "session_not_found"

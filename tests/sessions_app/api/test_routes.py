"""/v1/routes."""

from pathlib import Path

import pytest

from sessions_app.models import Route, SecretSlot
from sessions_app.providers import registry
from sessions_app.services import routes
from tests.factories import code_of, make_client, make_route, make_run, make_secret, make_session

pytestmark = pytest.mark.django_db

PATH = "/v1/routes"
OPENAI = {"route_id": "main", "driver": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m"}


def put(client, route_id, changes, match="*"):
    return client.put(f"{PATH}/{route_id}", changes, headers={"if-match": match})


def delete(client, route_id, match="*"):
    return client.delete(f"{PATH}/{route_id}", headers={"if-match": match})


def test_create_with_loopback_and_slot():
    make_secret("main-key")
    answer = make_client().post(PATH, {**OPENAI, "auth_ref": "main-key"})
    assert answer.status_code == 201, answer.content
    assert (answer["Location"], answer["ETag"]) == ("/v1/routes/main", '"1"')
    view = answer.json()
    assert view | OPENAI == view
    assert (view["default"], view["status"], view["problems"]) == (True, "ok", [])


def test_create_twice_is_409():
    make_route("main")
    assert code_of(make_client().post(PATH, OPENAI)) == "route_exists"


@pytest.mark.parametrize(
    "fields",
    [
        {"driver": "nothing"},
        {"base_url": "ftp://x"},
        {"base_url": "http://"},
        {"base_url": "http://user:pass@x"},
        {"base_url": "http://x:99999"},
        {"base_url": "http://[bad"},
        {"base_url": "http://x?key=1"},
        {"base_url": "not a url"},
        {"fallbacks": ["main"]},
        {"fallbacks": ["missing"]},
        {"options": {"read_timeout_seconds": "long"}},
        {"driver": "scripted", "options": {"script": "nothing like it"}},
    ],
)
def test_what_can_never_be_called_is_refused(fields):
    answer = make_client().post(PATH, {**OPENAI, **fields})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_route"), answer.content
    assert not Route.objects.exists()


@pytest.mark.parametrize("route_id", ["", "a/b", "a b", ".", 5])
def test_an_id_that_cannot_stand_in_a_path_is_refused(route_id):
    assert code_of(make_client().post(PATH, {**OPENAI, "route_id": route_id})) == "invalid_request"


def test_what_is_missing_shows_and_blocks_runs():
    client = make_client()
    view = client.post(PATH, {**OPENAI, "auth_ref": "missing", "model": ""}).json()
    assert view["status"] == "error"
    assert view["problems"] == ["no model is set", "secret slot missing is missing"]
    make_session()
    answer = client.post("/v1/sessions/desk/runs", {"content": "go"})
    assert (answer.status_code, code_of(answer)) == (409, "route_not_ready")


def test_what_has_an_effect_is_none():
    read = {"tool_protocol": "json", "headers": {}, "extra_body": {}, "context_window": 9000}
    created = make_client().post(PATH, {**OPENAI, "options": read}).json()
    assert (created["status"], created["problems"]) == ("ok", [])


def test_what_has_no_effect_is_a_warning_and_blocks_nothing():
    created = make_client().post(PATH, {**OPENAI, "options": {"foo": 1, "images": True}}).json()
    assert (created["status"], created["problems"]) == ("warning", ["driver openai reads no option foo"])
    route = routes.get("main")
    assert routes.readiness(route) == []


@pytest.mark.parametrize(
    ("options", "model", "said"),
    [
        ({}, "nosuchscript", "model nosuchscript chooses no script, so welcome is played: set option script"),
        ({}, "", ""),
        ({}, "welcome", ""),
        ({"script": "echo"}, "any", ""),
    ],
)
def test_a_scripted_route_says_when_its_model_chooses_nothing(options, model, said):
    body = {"route_id": "s", "driver": "scripted", "model": model, "options": options}
    created = make_client().post(PATH, body).json()
    assert (created["status"], created["problems"]) == (("warning", [said]) if said else ("ok", []))


def test_a_script_that_went_away_is_a_problem(tmp_path):
    script = tmp_path / "mine.yaml"
    script.write_text("turns: [{text: hello}]")
    body = {"route_id": "s", "driver": "scripted", "options": {"script_path": str(script)}}
    assert make_client().post(PATH, body).json()["status"] == "ok"
    script.unlink()
    view = make_client().get(f"{PATH}/s").json()
    assert (view["status"], view["problems"]) == ("error", [f"script_path {script} is not a file"])


def test_every_option_is_documented():
    text = Path("docs/operations.md").read_text(encoding="utf-8")
    for names in (registry.OPTIONS, *registry._own_options.values()):
        assert [name for name in names if f"`{name}`" not in text] == []


def test_the_public_api_needs_a_key():
    view = make_client().post(PATH, {**OPENAI, "base_url": ""}).json()
    assert "needs a key" in view["problems"][0]


def test_a_slot_sealed_under_another_key_is_a_problem():
    SecretSlot.objects.create(slot_id="old", sealed="gAAAAA")
    view = make_client().post(PATH, {**OPENAI, "auth_ref": "old"}).json()
    assert "cannot be read" in view["problems"][0]


def test_options_are_shown_without_secrets():
    options = {"headers": {"Authorization": "Bearer abcdefghijkl"}}
    view = make_client().post(PATH, {**OPENAI, "options": options}).json()
    assert view["options"] == {"headers": {"Authorization": "[redacted]"}}
    assert routes.get("main").options == options


def test_exactly_one_default():
    client = make_client()
    make_route("a")
    make_route("b")
    make_route("c", default=True)
    assert [r.route_id for r in Route.objects.filter(is_default=True)] == ["c"]
    assert put(client, "b", {"default": True}).json()["default"] is True
    assert [r.route_id for r in Route.objects.filter(is_default=True)] == ["b"]
    assert code_of(put(client, "b", {"default": False})) == "invalid_route"


def test_update_keeps_what_is_not_named_and_needs_the_version():
    make_route("a")
    client = make_client()
    answer = put(client, "a", {"model": "other"}, '"1"')
    assert (answer.status_code, answer["ETag"]) == (200, '"2"')
    assert (answer.json()["model"], answer.json()["driver"]) == ("other", "scripted")
    assert code_of(put(client, "a", {"model": "third"}, '"1"')) == "precondition_failed"
    assert code_of(client.put(f"{PATH}/a", {"model": "x"})) == "precondition_required"
    assert code_of(put(client, "nothing", {"model": "x"})) == "route_not_found"
    assert code_of(put(client, "a", {})) == "invalid_request"


def test_fallbacks_may_not_lead_back():
    make_route("a")
    make_route("b", fallbacks=["a"])
    make_route("c", fallbacks=["b"])
    answer = put(make_client(), "a", {"fallbacks": ["c"]})
    assert (answer.status_code, code_of(answer)) == (400, "invalid_route")


def test_created_runs_keep_their_model():
    make_route("a")
    run = make_run(make_session())
    put(make_client(), "a", {"model": "other"})
    run.refresh_from_db()
    assert (run.route_id, run.model) == ("a", "script")


def test_a_route_is_deleted_when_nothing_needs_it():
    client = make_client()
    make_route("a")
    make_route("b", fallbacks=["a"])
    make_route("c", fallbacks=[])
    assert code_of(client.delete(f"{PATH}/c")) == "precondition_required"
    assert code_of(delete(client, "c", '"9"')) == "precondition_failed"
    assert delete(client, "c").status_code == 204
    in_use = delete(client, "a")
    assert (in_use.status_code, code_of(in_use)) == (409, "route_in_use")
    assert in_use.json()["referenced_by"] == ["b"]
    put(client, "b", {"fallbacks": []})
    assert code_of(delete(client, "a")) == "route_in_use"  # the default of several
    assert delete(client, "b").status_code == 204
    assert delete(client, "a").status_code == 204
    assert code_of(delete(client, "a")) == "route_not_found"


def test_a_fresh_installation_gets_a_route_that_works_offline():
    routes.ensure_builtin()
    routes.ensure_builtin()
    route = Route.objects.get()
    assert (route.route_id, route.driver, route.is_default) == ("scripted", "scripted", True)
    assert routes.readiness(route) == []


def test_an_installation_with_routes_gets_none():
    make_route("mine")
    routes.ensure_builtin()
    assert [route.route_id for route in Route.objects.all()] == ["mine"]


def test_endpoint_holds_the_key_and_hides_it():
    make_secret("main-key", "canary-4711-value\n")
    route = make_route("a", auth_ref="main-key")
    endpoint = routes.endpoint_for(route)
    assert endpoint.api_key == "canary-4711-value"
    assert "canary" not in repr(endpoint)

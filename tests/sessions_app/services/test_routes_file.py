"""The routes file."""

import pytest

from sessions_app.models import Route, SecretSlot
from sessions_app.services import routes, routes_file, secrets
from sessions_app.services.routes_file import RoutesFileInvalid
from tests.factories import make_route

pytestmark = pytest.mark.django_db

GOOD = """
version = 1
default_route = "main"

[slots.shared]
provider = "openai"
value_file = "shared.key"

[routes.main]
driver = "openai"
default_model = "m"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "TEST_ROUTES_KEY"
fallbacks = ["spare", "last"]

[routes.spare]
driver = "openai"
model = "m2"
auth_ref = "shared"
fallbacks = ["last"]

[routes.last]
driver = "scripted"
model = "welcome"
[routes.last.options]
script = "welcome"
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_ROUTES_KEY", "canary-from-the-environment")
    (tmp_path / "shared.key").write_text("canary-from-a-file\n")

    def write(text):
        path = tmp_path / "routes.toml"
        path.write_text(text)
        return path

    return write


def test_applies_routes_slots_and_default(file):
    applied = routes_file.load(file(GOOD))
    assert (applied.slots, applied.routes) == (["shared", "main"], ["last", "main", "spare"])
    main = routes.get("main")
    assert (main.is_default, main.model, main.auth_ref) == (True, "m", "main")
    assert main.fallbacks == ["spare", "last"]
    assert secrets.reveal("main") == "canary-from-the-environment"
    assert secrets.reveal("shared") == "canary-from-a-file"
    assert not any(routes.readiness(route) for route in Route.objects.all())


def test_twice_changes_nothing(file):
    path = file(GOOD)
    routes_file.load(path)

    def state():
        rows = [list(kind.objects.values_list("pk", "revision")) for kind in (Route, SecretSlot)]
        return rows, list(SecretSlot.objects.values_list("sealed"))

    before = state()
    again = routes_file.load(path)
    assert (again.slots, again.routes) == ([], [])
    assert state() == before


def test_a_change_is_applied_and_the_rest_is_left(file):
    make_route("by-hand")
    routes_file.load(file(GOOD))
    applied = routes_file.load(file(GOOD.replace('model = "m2"', 'model = "m3"')))
    assert applied.routes == ["spare"]
    assert routes.get("spare").model == "m3"
    assert Route.objects.filter(route_id="by-hand").exists()


def test_one_route_needs_no_default(file):
    routes_file.load(file('version = 1\n[routes.only]\ndriver = "scripted"\n'))
    assert routes.get("only").is_default


FAULTS = {
    "not TOML": ("version = = 1", "line 1"),
    "no version": ('default_route = "a"', "line 1"),
    "unknown key at the top": ("version = 1\nrouts = 1", "line 2: unknown key routs"),
    "unknown key of a route": (GOOD.replace("default_model", "modle"), "line 11: unknown key modle"),
    "wrong type": (GOOD.replace('model = "m2"', "model = 7"), "line 18: model must be"),
    "bad id": ('version = 1\n[routes."a b"]\ndriver = "scripted"', "line 2"),
    "no driver": ('version = 1\n\n[routes.a]\nmodel = "m"', "line 3: driver is missing"),
    "two models": (GOOD.replace('model = "m2"', 'model = "m2"\ndefault_model = "m"'), "line 19"),
    "two credentials": (GOOD.replace("api_key_env", 'auth_ref = "shared"\napi_key_env'), "line 14"),
    "no default": (GOOD.replace('default_route = "main"', ""), "default_route is missing"),
    "unknown default": (GOOD.replace('= "main"', '= "other"'), "line 3: there is no route other"),
    "variable not set": (
        GOOD.replace("TEST_ROUTES_KEY", "TEST_NOT_SET"),
        "line 13: the environment",
    ),
    "file not there": (GOOD.replace("shared.key", "gone.key"), "line 7: cannot be read"),
    "slot without a value": (
        'version = 1\n[slots.a]\nprovider = "x"',
        "line 2: give value_env",
    ),
    "unknown driver": ('version = 1\n[routes.a]\ndriver = "nothing"', "unknown driver"),
    "unknown fallback": (GOOD.replace('["last"]', '["lost"]'), "no route lost"),
}


@pytest.mark.parametrize(("text", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_names_its_line_and_changes_nothing(file, text, words):
    with pytest.raises(RoutesFileInvalid) as caught:
        routes_file.load(file(text))
    assert words in caught.value.detail
    assert "canary" not in caught.value.detail
    assert not Route.objects.exists()
    assert not SecretSlot.objects.exists()


def test_a_missing_file(tmp_path):
    with pytest.raises(RoutesFileInvalid, match="cannot be read"):
        routes_file.load(tmp_path / "nothing.toml")

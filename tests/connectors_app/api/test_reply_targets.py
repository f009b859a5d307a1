"""Where answers go: handles, who may set them, snapshots, pins, and what connectors write back."""

from typing import Any

import pytest

from connectors_app.models import Delivery
from connectors_app.services import reply_targets as rules
from sessions_app.models import JournalEntry, Session
from sessions_app.services import ports
from tests.factories import code_of, make_client, make_route, make_run, make_session

pytestmark = pytest.mark.django_db
ADDRESS = "/v1/sessions/desk/reply-targets"
URL = "https://example.com/hook"
HOOK = {"plugin": "http", "address": {"url": URL}}
OTHER = {"plugin": "http", "address": {"url": "https://example.com/other"}}
LOCAL = {"plugin": "daemon", "address": {"session_id": "desk"}}


@pytest.fixture(autouse=True)
def session() -> Session:
    return make_session("desk")


def stored() -> list[Any]:
    return list(Session.objects.get(session_id="desk").reply_targets)


def put(client: Any, *handles: Any, **more: Any) -> Any:
    tag = client.get(ADDRESS)["ETag"]
    return client.put(ADDRESS, {"reply_targets": handles, **more}, headers={"If-Match": tag})


@pytest.mark.parametrize(
    ("handle", "normal"),
    [
        ({"plugin": "http", "address": URL}, HOOK),
        ({"type": "raw", "plugin": "http", "address": {"url": URL}}, HOOK),
        ({"type": "http", "url": "HTTPS://EXAMPLE.com:443/hook#part"}, HOOK),
        ({"type": "http", "url": URL, "idempotent": False, "headers": {}}, HOOK),
        ({"type": "daemon", "session_id": "desk"}, LOCAL),
        ({"plugin": "daemon", "address": "desk"}, LOCAL),
        (
            {"type": "http", "url": URL, "headers": {"X-Team": "ops"}},
            {"plugin": "http", "address": {"url": URL, "headers": {"x-team": "ops"}}},
        ),
    ],
)
def test_handles_have_one_normal_form(handle: Any, normal: Any) -> None:
    assert make_client("operator").post(ADDRESS, {"reply_targets": [handle, handle]}).status_code == 200
    assert stored() == [normal]


@pytest.mark.parametrize(
    "handle",
    [
        {}, {"type": "smoke"}, {"plugin": "http"}, {"plugin": "http", "address": 4}, {"type": "http"},
        {"type": "http", "url": "ftp://example.com"}, {"type": "http", "url": "https://"},
        {"type": "http", "url": "https://u:p@example.com/"}, {"type": "http", "url": "http://localhost:1/"},
        {"type": "http", "url": "http://127.0.0.1/"}, {"type": "http", "url": "http://[::1]/"},
        {"type": "http", "url": "http://169.254.169.254/latest"}, {"type": "http", "url": "http://10.1.1.1/"},
        {"type": "http", "url": "http://xn--/"}, {"type": "http", "url": "http://example.com:99999/"},
        {"type": "http", "url": "http://example.com:0/"}, {"type": "http", "url": f"{URL}?{'q' * 2000}"},
        {"type": "http", "url": URL, "method": "GET"}, {"type": "http", "url": URL, "headers": ["x"]},
        {"type": "http", "url": URL, "headers": {"Authorization": "x"}},
        {"type": "http", "url": URL, "headers": {"x-forwarded-for": "x"}},
        {"type": "http", "url": URL, "headers": {"Idempotency-Key": "x"}},
        {"type": "http", "url": URL, "headers": {"x y": "x"}},
        {"type": "http", "url": URL, "headers": {"x": "a\r\nb"}},
        {"type": "http", "url": URL, "allow_private_network": "yes"},
        {"plugin": "daemon", "address": " "},
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused(handle: Any) -> None:
    answer = make_client("admin").post(ADDRESS, {"reply_targets": [handle]})
    assert answer.status_code == 400 and code_of(answer) == "invalid_reply_target"
    assert stored() == []


def test_only_an_admin_points_answers_into_private_networks() -> None:
    handle = {"type": "http", "url": "http://10.0.0.7/", "allow_private_network": True}
    refused = make_client("operator").post(ADDRESS, {"reply_targets": [handle]})
    assert refused.status_code == 403 and code_of(refused) == "reply_target_forbidden"
    assert make_client("admin").post(ADDRESS, {"reply_targets": [handle]}).status_code == 200
    body = {"content": "go", "reply_targets": [handle]}
    make_route(default=True)
    assert make_client("operator").post("/v1/sessions/desk/runs", body).status_code == 403


def test_appended_replaced_cleared_with_etags() -> None:
    client = make_client("operator")
    client.post(ADDRESS, {"reply_targets": [HOOK]})
    assert client.post(ADDRESS, {"reply_targets": [HOOK, OTHER]}).json()["reply_targets"] == [HOOK, OTHER]
    assert client.put(ADDRESS, {"reply_targets": []}).status_code == 428
    old = client.get(ADDRESS)["ETag"]
    answer = put(client, OTHER, pinned=True)
    assert answer.json() == {
        "session_id": "desk", "reply_targets": [OTHER], "pinned": True, "revision": answer.json()["revision"],
    }  # fmt: skip
    assert client.delete(ADDRESS, headers={"If-Match": old}).status_code == 412
    assert put(client, HOOK).json()["pinned"] is True
    cleared = client.delete(ADDRESS, headers={"If-Match": client.get(ADDRESS)["ETag"]})
    assert (cleared.json()["reply_targets"], cleared.json()["pinned"]) == ([], False)
    assert code_of(client.get("/v1/sessions/none/reply-targets")) == "session_not_found"
    assert make_client("viewer").post(ADDRESS, {"reply_targets": [HOOK]}).status_code == 403
    many = [{"type": "http", "url": f"{URL}/{number}"} for number in range(15)]
    client.post(ADDRESS, {"reply_targets": many})
    more = [{"type": "http", "url": f"{URL}/more/{number}"} for number in range(15)]
    assert code_of(client.post(ADDRESS, {"reply_targets": more})) == "invalid_reply_target"


def test_no_view_and_no_entry_shows_what_may_be_secret() -> None:
    handle = {"type": "http", "url": f"{URL}?sig=canary-1", "headers": {"x-shared": "canary-2"}}
    client = make_client("operator")
    client.post(ADDRESS, {"reply_targets": [handle]})
    put(client, OTHER)
    make_run(Session.objects.get(session_id="desk"), reply_targets=[stored()[0]])
    told = [client.get(path).content.decode() for path in (ADDRESS, "/v1/sessions/desk", "/v1/sessions")]
    told += [str(entry.payload) for entry in JournalEntry.objects.all()]
    assert "canary" not in "".join(told)
    assert "x-shared" in "".join(told) and f"{URL}?[redacted]" in "".join(told)


def test_explicit_targets_come_before_the_sessions_and_are_kept() -> None:
    client = make_client("operator")
    make_route(default=True)
    client.post(ADDRESS, {"reply_targets": [HOOK]})
    plain = client.post("/v1/sessions/desk/runs", {"content": "go"}).json()["run_id"]
    spelled = {"content": "go", "reply_plugin": "http", "reply_address": OTHER["address"]["url"]}
    explicit = client.post("/v1/sessions/desk/runs", spelled).json()["run_id"]
    put(client, LOCAL)
    from sessions_app.models import Run

    assert Run.objects.get(run_id=plain).reply_targets == [HOOK]
    assert Run.objects.get(run_id=explicit).reply_targets == [OTHER]
    half = {"content": "go", "reply_plugin": "http"}
    assert client.post("/v1/sessions/desk/runs", half).status_code == 400
    assert stored() == [LOCAL]  # an API run of the daemon's own plugin writes nothing back


def test_a_connectors_targets_become_the_defaults_unless_pinned() -> None:
    desk = Session.objects.get(session_id="desk")
    make_run(desk, source_plugin="slack", reply_targets=[HOOK])
    assert stored() == [HOOK]
    change = JournalEntry.objects.filter(kind="session.updated").last()
    assert change is not None and change.payload["reply_targets"] == {"from": [], "to": [HOOK]}
    assert change.payload["source_plugin"] == "slack"
    make_run(desk, source_plugin="scheduler", reply_targets=[OTHER])
    assert stored() == [HOOK]
    put(make_client("operator"), HOOK, pinned=True)
    make_run(desk, source_plugin="slack", reply_targets=[OTHER])
    assert stored() == [HOOK]


def test_only_what_changed_is_journalled() -> None:
    client = make_client("operator")
    for handles, more in (((HOOK,), {}), ((HOOK,), {"pinned": True}), ((LOCAL,), {"pinned": False})):
        assert put(client, *handles, **more).status_code == 200
    settled = put(client, LOCAL, pinned=False)
    client.post(ADDRESS, {"reply_targets": [LOCAL]})
    entries = JournalEntry.objects.filter(kind="session.updated").order_by("seq")
    told = [{name: said for name, said in entry.payload.items() if name != "principal"} for entry in entries]
    assert told == [
        {"reply_targets": {"from": [], "to": [HOOK]}},
        {"reply_targets_pinned": True},
        {"reply_targets": {"from": [HOOK], "to": [LOCAL]}, "reply_targets_pinned": False},
    ]
    assert client.get(ADDRESS)["ETag"] == settled["ETag"]


def test_an_output_names_its_own_targets_first() -> None:
    desk = Session.objects.get(session_id="desk")
    run = make_run(desk, reply_targets=[HOOK])
    ports.output_emitted(run, {"content": "to all"}, "k1")
    ports.output_emitted(run, {"content": "to one", "reply_targets": [OTHER]}, "k2")
    ports.output_emitted(run, {"content": "kept here", "reply_targets": [LOCAL]}, "k3")
    ports.output_emitted(make_run(desk), {"content": "kept here"}, "k4")
    said = Delivery.objects.order_by("id").values_list("content", flat=True)
    assert list(said) == ["to all", "to one"]
    assert Delivery.objects.values("target").distinct().count() == 2


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        ({}, True),
        ({"connector_allow": ["ops"]}, False),  # lists connectors, so their credentials must be listed too
        ({"connector_allow": ["ops"], "connector_credential_allow": ["ops:bot_token"]}, True),
        ({"connector_allow": ["*"], "connector_credential_allow": ["*"]}, True),
        ({"connector_allow": ["other"], "connector_credential_allow": ["*"]}, False),
        ({"connector_deny": ["ops"]}, False),
        ({"connector_deny": ["*"]}, False),
        ({"connector_credential_deny": ["ops:bot_token"]}, False),
        ({"connector_credential_allow": ["other:bot_token"]}, False),
    ],
)
def test_the_credential_scope_permits_connectors(scope: dict[str, Any], allowed: bool) -> None:
    assert rules.permits(scope, "ops", "bot_token") is allowed


def test_a_session_is_made_with_judged_targets() -> None:
    client = make_client("operator")
    answer = client.post(
        "/v1/sessions", {"session_id": "new", "reply_targets": [{"type": "http", "url": URL}]}
    )
    assert answer.status_code == 201 and answer.json()["reply_targets"] == [HOOK]
    bad = client.post("/v1/sessions", {"session_id": "bad", "reply_targets": [{"type": "smoke"}]})
    assert code_of(bad) == "invalid_reply_target"
    assert not Session.objects.filter(session_id="bad").exists()

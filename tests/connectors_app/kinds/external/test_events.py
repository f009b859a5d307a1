"""Events of a sidecar: accepted once, known again, rejected with a reason, or refused over HTTP."""

import base64
from types import SimpleNamespace
from typing import Any

import pytest

from connectors_app.models import BindingKey, IngressReceipt, IngressRefusal, SidecarState, SidecarStatus
from connectors_app.services import connectors, ingress
from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from sessions_app.models import Run, Session
from tests.connectors_app.kinds.external.rows import EVENTS, make_event, make_external, push, pushed
from tests.connectors_app.rows import sender
from tests.factories import code_of, make_route, make_session
from tests.support.sidecar import fake_sidecar

pytestmark = pytest.mark.django_db
MIB = 1_048_576


def test_an_event_is_one_run_and_its_repeat_is_a_duplicate() -> None:
    make_external()
    first = pushed()
    assert first["status"] == "accepted"
    assert first["event_id"] == "event-1"
    again = pushed(instance_id="i-2", protocol_version=1)
    assert again == {**first, "status": "duplicate"}
    run = Run.objects.get()
    assert (run.run_id, run.session.session_id) == (first["run_id"], first["session_id"])
    assert (run.source_plugin, run.source_kind, run.actor_id) == ("external", "email", "ada@example.org")
    assert run.metadata == {
        "connector": "external/mail",
        "connector_ingress_key": f"external:mail:{sha256_hex('event-1')[:32]}",
        "external_instance_id": "i-1",
        "external_event_id": "event-1",
        "external_event_key_sha256": sha256_hex("event-1"),
        "external_event_fingerprint": IngressReceipt.objects.get().fingerprint,
        "external_protocol_version": 2,
        "occurred_at_ms": 1_764_151_200_000,
    }


@pytest.mark.parametrize("version", [1, 2])
def test_both_versions_of_the_protocol(version: int) -> None:
    make_external()
    assert pushed(protocol_version=version)["status"] == "accepted"
    assert Run.objects.get().metadata["external_protocol_version"] == version


@pytest.mark.parametrize(
    "change",
    [
        {"occurred_at_ms": 1},
        {"content": "other"},
        {"fingerprint": "x"},
        {"actor_id": "b"},
        {"intent": "reply"},
    ],
)
def test_another_word_under_the_same_id_is_rejected_with_the_first_ids(change: dict[str, Any]) -> None:
    make_external()
    first = pushed()
    answer = pushed(**change)
    assert answer["status"] == "rejected"
    assert (answer["session_id"], answer["run_id"]) == (first["session_id"], first["run_id"])
    assert Run.objects.count() == 1


def test_a_duplicate_keeps_its_ids_when_the_connector_changed_meanwhile() -> None:
    make_external()
    first = pushed()
    make_external(fixed_session_id="elsewhere", session_policy={"create_if_missing": False})
    assert pushed() == {**first, "status": "duplicate"}


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"protocol_version": 3}, "protocol_version"),
        ({"event_id": ...}, "event_id"),
        ({"event_id": " "}, "event_id"),
        ({"actor_id": ""}, "actor_id"),
        ({"source_kind": " "}, "source_kind"),
        ({"intent": ""}, "intent"),
        ({"routing_key": " "}, "routing_key"),
        ({"thread": {"path": ["a", ""]}}, "thread/path/1"),
        ({"thread": {"path": "a"}}, "thread/path"),
        ({"relation": {"kind": "reply"}}, "relation/target_event_id"),
        ({"occurred_at_ms": "now"}, "occurred_at_ms"),
        ({"content": ""}, "empty"),
        ({"content": "  \n"}, "empty"),
        ({"content": "é" * (MIB // 2 + 1)}, "content"),
        ({"thread": {"path": []}}, "no session"),
        ({"thread": ...}, "no session"),
        ({"surprise": 1}, "surprise"),
        ({"content": ..., "input_items": [{"type": "text", "text": "a"}] * 65}, "input_items"),
        ({"content": ..., "input_items": [{"type": "board_reference"}]}, "input_items/0/type"),
        ({"content": ..., "input_items": [{"type": "text"}]}, "members"),
        ({"content": ..., "input_items": [{"type": "text", "text": "a", "asset_id": "b"}]}, "members"),
        ({"input_items": [{"type": "text", "text": "a"}]}, "not both"),
        ({"attachments": [{"asset_id": "asset_1"}] * 11}, "attachments"),
        ({"attachments": [{"file_name": "a", "media_type": "b", "content_base64": "?"}]}, "not base64"),
        ({"attachments": [{"file_name": "a.md", "media_type": "b", "content_base64": ""}]}, "a.md is empty"),
        ({"attachments": [{"file_name": "a", "media_type": "b"}]}, "members"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata"),
        ({"reply_route": "x" * 5000}, "reply_route"),
    ],
)
def test_what_is_wrong_with_an_event_is_its_answer(members: dict[str, Any], reason: str) -> None:
    make_external()
    answer = pushed(**members)
    assert answer["status"] == "rejected", answer
    assert reason in answer["reason"]
    assert not (Run.objects.exists() or Session.objects.exists() or IngressReceipt.objects.exists())
    assert IngressRefusal.objects.get().code == answer["code"]


@pytest.mark.parametrize("body", ["[]", '"x"', "1", "null"])
def test_an_event_that_is_no_object(body: str) -> None:
    make_external()
    response = sender().post(EVENTS, body, content_type="application/json")
    assert response.json()["status"] == "rejected"


def test_an_inline_file_over_a_mebibyte_is_rejected() -> None:
    make_external()
    content = base64.b64encode(b"x" * (MIB + 1)).decode()
    answer = pushed(
        attachments=[{"file_name": "a.txt", "media_type": "text/plain", "content_base64": content}]
    )
    assert answer["status"] == "rejected"
    assert "larger than" in answer["reason"]


def test_a_body_over_two_mebibytes_is_not_read() -> None:
    make_external()
    response = push(content="x" * (2 * MIB))
    assert response.status_code == 413


def test_null_members_count_as_absent() -> None:
    make_external()
    nothing = dict.fromkeys(
        ["intent", "relation", "routing_key", "source_kind", "reply_route", "input_items"]
    )
    assert pushed(**nothing)["status"] == "accepted"


def test_what_an_event_says_of_itself_is_kept() -> None:
    make_external()
    pushed(
        intent="domain_event",
        routing_key="order-1",
        relation={"kind": "reply", "target_event_id": "event-0"},
        metadata=["raw"],
        source_kind="mail",
    )
    run = Run.objects.get()
    assert run.source_kind == "mail"
    assert run.metadata["external_intent"] == "domain_event"
    assert run.metadata["external_routing_key"] == "order-1"
    assert run.metadata["external_relation"] == {"kind": "reply", "target_event_id": "event-0"}
    assert run.metadata["source_metadata"] == ["raw"]


def test_metadata_cannot_pretend_to_be_the_services_own() -> None:
    make_external()
    pushed(metadata={"connector": "x", "external_event_id": "y", "daemon_z": 1, "subject": "hi"})
    metadata = Run.objects.get().metadata
    assert metadata["connector"] == "external/mail"
    assert metadata["external_event_id"] == "event-1"
    assert metadata["subject"] == "hi"
    assert "daemon_z" not in metadata


def b64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def natural(identity: str) -> str:
    return f"external:mail:{sha256_hex(identity)[:16]}"


def test_only_the_whole_path_is_bound() -> None:
    make_external(additional_binding_keys=[])
    one = pushed(event_id="1", thread={"path": ["ada", "x"]})
    other = pushed(event_id="2", thread={"path": ["ada", "y"]})
    assert one["session_id"] != other["session_id"]
    assert pushed(event_id="3", thread={"path": ["ada", "x"]})["session_id"] == one["session_id"]
    keys = {":".join(["external:mail", b64("email"), b64("ada"), b64(last)]) for last in ("x", "y")}
    assert set(BindingKey.objects.values_list("key", flat=True)) == keys
    assert one["session_id"] == natural('["email",["ada","x"]]')


def test_a_routing_key_counts_only_without_a_path() -> None:
    make_external()
    threaded = pushed(event_id="1", routing_key="order-1")
    routed = pushed(event_id="2", thread=..., routing_key="order-1")
    assert routed["session_id"] != threaded["session_id"]
    assert routed["session_id"] == natural('["routing_key","email","order-1"]')
    assert (
        pushed(event_id="3", thread={"path": []}, routing_key="order-1")["session_id"] == routed["session_id"]
    )
    assert BindingKey.objects.filter(key__contains=":route:").count() == 1


def test_the_order_fixed_bound_natural() -> None:
    make_external(fixed_session_id="desk")
    assert pushed(event_id="1")["session_id"] == "desk"
    make_external(fixed_session_id="")
    assert pushed(event_id="2")["session_id"] == "desk"  # bound by the first
    natural = pushed(event_id="3", thread={"path": ["bob"]})["session_id"]
    assert natural.startswith("external:mail:")


def test_an_additional_key_joins_an_established_session() -> None:
    make_external("first", fixed_session_id="customer-1", additional_binding_keys=["customer:1"])
    push(to="/v1/connectors/external/first/events")
    make_external(additional_binding_keys=["customer:1"])
    assert pushed(thread={"path": ["somebody else"]})["session_id"] == "customer-1"


@pytest.mark.parametrize(
    ("settings", "members", "targets"),
    [
        ({}, {"reply_route": "r-1"}, [("external", "r-1")]),
        ({}, {"reply_route": " "}, []),
        ({}, {}, []),
        ({"include_self_output": False}, {"reply_route": "r-1"}, []),
    ],
)
def test_where_answers_go(settings: Any, members: Any, targets: Any) -> None:
    make_external(**settings)
    pushed(**members)
    found = [(one["plugin"], one["address"]["route"]) for one in Run.objects.get().reply_targets]
    assert found == targets


def test_additional_targets_follow_the_own() -> None:
    make_external("other")
    also = {"type": "external", "connector": "other", "route": "log"}
    make_external(additional_reply_targets=[also])
    pushed(reply_route="r-1")
    named = [one["address"] for one in Run.objects.get().reply_targets]
    assert named == [{"connector": "mail", "route": "r-1"}, {"connector": "other", "route": "log"}]


@pytest.mark.parametrize("token", ["", "wrong", "ingress-token-4711-canar"])
def test_without_the_shared_token_nothing_comes_in(token: str) -> None:
    make_external()
    for address in (EVENTS, f"{EVENTS}/batch"):
        assert code_of(sender(token).post(address, make_event())) == "ingress_unauthorized"
    assert not Run.objects.exists()


def test_an_open_connector_takes_events_but_no_stored_assets() -> None:
    given = {"platform": "email", "base_url": "https://sidecar.example.org"}
    connectors.put(
        "external", "mail", {**given, "allow_unauthenticated_ingress": True}, {}, principal="alice"
    )
    make_session("desk")
    make_route()
    stranger = sender("")
    assert stranger.post(EVENTS, make_event()).json()["status"] == "accepted"
    named = make_event(
        event_id="2", content=..., input_items=[{"type": "asset_reference", "asset_id": "asset_1"}]
    )
    assert stranger.post(EVENTS, named).json()["status"] == "rejected"


def test_what_depends_on_the_service_is_an_error() -> None:
    assert push().status_code == 404
    make_external(session_policy={"create_if_missing": False})
    refused = push()
    assert (refused.status_code, code_of(refused)) == (409, "session_creation_disabled")
    assert not IngressReceipt.objects.exists()
    connectors.set_paused("external", "mail", True, principal="alice")
    assert code_of(push()) == "connector_paused"
    connectors.set_enabled("external", "mail", False)
    assert code_of(push()) == "connector_disabled"


@pytest.fixture
def still_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token of a bucket comes back while the test runs."""
    monkeypatch.setattr(ingress, "time", SimpleNamespace(monotonic=lambda: 1000.0))


@pytest.mark.usefixtures("still_clock")
def test_too_fast_is_told_when_to_come_back() -> None:
    make_external(ingress_events_per_second=1)
    pushed()
    refused = push(event_id="2")
    assert (refused.status_code, code_of(refused)) == (429, "external_ingress_rate_limited")
    assert int(refused["Retry-After"]) >= 1
    assert refused.json()["retry_after_ms"] > 0
    assert pushed()["status"] == "duplicate"


def batch(*events: Any, **members: Any) -> Any:
    return sender().post(f"{EVENTS}/batch", {"events": list(events), **members})


def test_a_batch_is_taken_in_order_and_each_event_is_answered() -> None:
    make_external()
    events = [make_event(event_id=f"e{number}", content=f"{number}") for number in range(64)]
    results = batch(*events, protocol_version=1).json()["results"]
    assert [one["event_id"] for one in results] == [f"e{number}" for number in range(64)]
    assert {one["status"] for one in results} == {"accepted"}
    runs = Run.objects.order_by("position")
    assert [run.run_id for run in runs] == [one["run_id"] for one in results]
    assert {run.metadata["external_protocol_version"] for run in runs} == {1}
    assert {one["status"] for one in batch(*events, protocol_version=2).json()["results"]} == {"duplicate"}


@pytest.mark.usefixtures("still_clock")
def test_a_batch_is_not_atomic() -> None:
    make_external(ingress_events_per_second=2, session_policy={"create_if_missing": False})
    make_session("desk")
    make_external(fixed_session_id="desk")
    events = [make_event(event_id=event_id) for event_id in ("", "1", "1", "2", "3")]
    rejected, accepted, same, other, limited = batch(*events).json()["results"]
    assert (rejected["status"], "event_id" in rejected) == ("rejected", False)
    assert (accepted["status"], same["status"]) == ("accepted", "duplicate")
    assert other["status"] == "accepted"
    assert (limited["status"], limited["retry_after_ms"] > 0) == ("rate_limited", True)


def test_a_policy_that_refuses_is_an_error_of_its_event() -> None:
    make_external(session_policy={"create_if_missing": False})
    (one,) = batch(make_event()).json()["results"]
    assert (one["status"], one["code"]) == ("error", "session_creation_disabled")


@pytest.mark.parametrize(
    "body",
    [
        {"events": [make_event(event_id=str(number)) for number in range(65)]},
        {"events": {}},
        {},
        [],
        {"events": [], "more": 1},
        {"events": [], "protocol_version": 3},
    ],
)
def test_what_is_no_batch(body: Any) -> None:
    make_external()
    refused = sender().post(f"{EVENTS}/batch", body)
    assert (refused.status_code, code_of(refused)) == (400, "external_batch_invalid")
    assert not Run.objects.exists()


def make_child(base_url: str) -> None:
    child = {"mode": "child_process", "base_url": base_url, "child_process": {"command": "true"}}
    connector = make_external(**child)
    SidecarState.objects.create(
        connector=connector, status=SidecarStatus.RUNNING, instance_id="i-1", since=clock.now()
    )


@pytest.mark.django_db(transaction=True)
def test_of_a_child_process_only_the_one_that_runs_may_speak() -> None:
    with fake_sidecar() as server:
        make_child(server.url)
        assert pushed()["status"] == "accepted"
        assert pushed(event_id="2", instance_id=server.instance_id)["status"] == "accepted"  # just started
        answer = pushed(event_id="3", instance_id="i-0")
    assert (answer["status"], "instance_id" in answer["reason"]) == ("rejected", True)
    refused = push(event_id="4", instance_id="i-2")
    assert (refused.status_code, code_of(refused)) == (503, "external_sidecar_starting")


@pytest.mark.django_db(transaction=True)
def test_a_batch_asks_a_sidecar_that_is_not_ready_once() -> None:
    batch = {"events": [make_event(event_id=str(number), instance_id="i-2") for number in range(3)]}
    with fake_sidecar() as server:
        make_child(server.url)
        server.capabilities = {"threads": "not yet"}
        results = sender().post(f"{EVENTS}/batch", batch).json()["results"]
    assert [result["code"] for result in results] == ["external_sidecar_starting"] * 3
    assert server.manifests == 1

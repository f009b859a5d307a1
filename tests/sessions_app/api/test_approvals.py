"""Approvals: listed, voted on, settled once, alone or in batches."""

from typing import Any

import pytest

from kheish_site.lib.errors import BadRequest
from kheish_site.lib.redaction import MASK
from sessions_app.models import Approval, RunStatus, ToolCall
from sessions_app.services import approvals, effects
from tests.factories import code_of
from tests.sessions_app.api.rows import (
    ask_approvals,
    caller,
    make_call,
    make_session,
    stranger,
)

pytestmark = pytest.mark.django_db


def resolve(client: Any, approval: Approval, behavior: str = "allow", **body: Any) -> Any:
    return client.post(f"/v1/approvals/{approval.approval_id}/resolve", {"behavior": behavior, **body})


def status_of(run: Any) -> str:
    run.refresh_from_db()
    return str(run.status)


def test_the_view_shows_the_exact_call() -> None:
    run, (approval,) = ask_approvals(make_session())
    view = caller("viewer").get(f"/v1/approvals/{approval.approval_id}").json()
    assert view["run_id"] == run.run_id
    assert view["call_id"] == approval.tool_call.call_id
    assert (view["tool_name"], view["input"]) == ("bash", {"command": "make deploy-0"})
    assert view["input_masked"] is False
    assert view["digest"] == effects.call_digest("bash", {"command": "make deploy-0"})
    assert (view["status"], view["required_votes"], view["roles"]) == ("pending", 1, ["operator", "admin"])
    assert view["votes"] == []
    assert "decision" not in view


def test_allowing_queues_the_run_and_says_who() -> None:
    run, (approval,) = ask_approvals(make_session())
    client = caller(name="ann")
    answer = resolve(client, approval, justification="checked", reason="fine")
    assert answer.status_code == 200, answer.content
    view = answer.json()
    assert view["status"] == "allowed"
    assert view["decision"]["principal"] == "ann"
    assert (view["decision"]["behavior"], view["decision"]["edited"]) == ("allow", False)
    (vote,) = view["votes"]
    assert (vote["principal"], vote["auth_method"], vote["remote_addr"]) == ("ann", "token", "127.0.0.1")
    assert (vote["justification"], vote["reason"], vote["voided"]) == ("checked", "fine", False)
    assert status_of(run) == RunStatus.QUEUED


def test_the_same_decision_again_is_200_and_another_409_with_the_winner() -> None:
    _, (approval,) = ask_approvals(make_session())
    first = resolve(caller(name="ann"), approval)
    again = resolve(caller(name="ben"), approval)
    assert (again.status_code, again.json()) == (200, first.json())
    other = resolve(caller(name="cat"), approval, "deny")
    assert (other.status_code, code_of(other)) == (409, "approval_state_conflict")
    assert other.json()["decision"]["principal"] == "ann"
    assert other.json()["approval_status"] == "allowed"


def test_a_no_said_again_is_the_same_whatever_call_it_names() -> None:
    _, (approval,) = ask_approvals(make_session())
    first = resolve(caller(name="ann"), approval, "deny")
    again = resolve(caller(name="ben"), approval, "deny", digest="0" * 64)
    assert (again.status_code, again.json()) == (200, first.json())


def test_the_same_key_is_answered_once() -> None:
    _, (approval,) = ask_approvals(make_session())
    client, path = caller(), f"/v1/approvals/{approval.approval_id}/resolve"
    first = client.post(path, {"behavior": "deny"}, headers={"Idempotency-Key": "k"})
    again = client.post(path, {"behavior": "deny"}, headers={"Idempotency-Key": "k"})
    assert again.json() == first.json()
    assert again["Idempotent-Replayed"] == "true"
    other = client.post(path, {"behavior": "allow"}, headers={"Idempotency-Key": "k"})
    assert code_of(other) == "idempotency_conflict"


def test_denying_tells_the_agent_why() -> None:
    run, (approval,) = ask_approvals(make_session())
    assert resolve(caller(), approval, "deny", reason="not today").json()["status"] == "denied"
    call = ToolCall.objects.get(pk=approval.tool_call_id)
    assert (call.state, call.error_code) == ("denied", "approval_denied")
    assert "not today" in call.content
    assert status_of(run) == RunStatus.QUEUED


def test_an_edit_makes_a_new_digest_and_voids_votes() -> None:
    run, (approval,) = ask_approvals(make_session(), required_votes=2)
    resolve(caller(name="ann"), approval)
    edited = resolve(caller(name="ben"), approval, updated_input={"command": "make check"})
    view = edited.json()
    assert (view["status"], view["input"]) == ("pending", {"command": "make check"})
    assert view["digest"] != approval.digest
    assert [(vote["principal"], vote["voided"]) for vote in view["votes"]] == [("ann", True), ("ben", False)]
    assert status_of(run) == RunStatus.WAITING_FOR_APPROVAL
    done = resolve(caller(name="cat"), approval, digest=view["digest"]).json()
    assert (done["status"], done["decision"]["edited"]) == ("allowed", True)
    assert ToolCall.objects.get(pk=approval.tool_call_id).arguments == {"command": "make check"}


EDIT = {"updated_input": {"command": "make check"}}


def test_a_yes_to_what_was_edited_meanwhile_does_not_count() -> None:
    _, (approval,) = ask_approvals(make_session(), required_votes=2)
    cat = caller(name="cat")
    seen = cat.get(f"/v1/approvals/{approval.approval_id}").json()
    edited = resolve(caller(name="ben"), approval, **EDIT).json()
    assert (seen["edited"], edited["edited"]) == (False, True)
    stale = resolve(cat, approval, digest=seen["digest"])
    assert (stale.status_code, code_of(stale)) == (409, "approval_state_conflict")
    assert "edited since you looked" in stale.json()["detail"]
    for body in ({}, {"updated_input": {"command": "make"}}):
        blind = resolve(cat, approval, **body)
        assert (blind.status_code, code_of(blind)) == (409, "approval_digest_required")
    assert [vote["principal"] for vote in edited["votes"]] == ["ben"]
    done = resolve(cat, approval, digest=edited["digest"]).json()
    assert (done["status"], done["edited"]) == ("allowed", True)
    late = resolve(caller(name="dan"), approval, digest=seen["digest"])
    assert (late.status_code, code_of(late)) == (409, "approval_state_conflict")


def test_who_edited_may_say_it_again_and_anybody_may_say_no() -> None:
    _, (approval,) = ask_approvals(make_session(), required_votes=2)
    ben = caller(name="ben")
    for body in (EDIT, EDIT, {}):
        assert resolve(ben, approval, **body).json()["status"] == "pending"
    assert resolve(caller(name="cat"), approval, "deny").json()["status"] == "denied"


def test_a_digest_of_the_call_as_asked_counts() -> None:
    _, (one, two) = ask_approvals(make_session(), 2)
    assert resolve(caller(), one, digest=one.digest).json()["status"] == "allowed"
    assert code_of(resolve(caller(), two, digest="0" * 64)) == "approval_state_conflict"
    assert resolve(caller(), two, digest="").status_code == 400


def test_a_digest_of_no_call_is_not_called_an_edit() -> None:
    _, (one,) = ask_approvals(make_session())
    refused = resolve(caller(), one, digest="deadbeef").json()
    assert refused["detail"] == f"the digest is not one of this call: its digest is now {one.digest[:12]}…"
    assert refused["approval_id"] == one.approval_id


def test_an_edit_must_fit_the_tool() -> None:
    _, (approval,) = ask_approvals(make_session())
    answer = resolve(caller(), approval, updated_input={"commando": 1})
    assert (answer.status_code, code_of(answer)) == (400, "approval_input_invalid")
    assert answer.json()["errors"]
    approval.refresh_from_db()
    assert approval.status == "pending"


def test_a_secret_in_the_call_is_masked_and_kept() -> None:
    session = make_session()
    _, (approval,) = ask_approvals(session)
    secret = "curl -H 'Authorization: Bearer abcdefghijklmnop'"
    Approval.objects.filter(pk=approval.pk).update(arguments={"command": secret})
    client = caller()
    view = client.get(f"/v1/approvals/{approval.approval_id}").json()
    assert "abcdefghijklmnop" not in str(view)
    assert MASK in view["input"]["command"] and view["input_masked"] is True
    runs = client.get("/v1/runs").content.decode()
    assert "abcdefghijklmnop" not in runs
    allowed = resolve(client, approval, updated_input={**view["input"], "description": "look"})
    assert allowed.json()["status"] == "allowed"
    call = ToolCall.objects.get(pk=approval.tool_call_id)
    assert call.arguments == {"command": secret, "description": "look"}


def test_a_mask_in_a_list_of_another_length_is_nobodys() -> None:
    _, (approval,) = ask_approvals(make_session())
    given = {"command": "x", "env": [{"token": "first-secret"}, {"token": "second-secret"}]}
    Approval.objects.filter(pk=approval.pk).update(arguments=given)
    approval.refresh_from_db()
    with pytest.raises(BadRequest) as refused:
        approvals._unmasked({"env": [{"token": MASK}]}, given)
    assert refused.value.error_code == "approval_input_masked"
    kept = approvals._unmasked({"env": [{"token": MASK}, {"token": MASK}]}, given)
    assert kept == {"env": given["env"]}


def test_policy_says_whose_vote_counts() -> None:
    _, (approval,) = ask_approvals(make_session(), roles=["admin"])
    answer = resolve(caller(), approval)
    assert (answer.status_code, code_of(answer)) == (403, "approval_vote_forbidden")
    assert resolve(caller("admin"), approval).status_code == 200
    _, (own,) = ask_approvals(make_session("two"), requester_may_vote=False)
    assert code_of(resolve(caller(name="alice"), own)) == "approval_vote_forbidden"


def test_who_may_decide() -> None:
    _, (approval,) = ask_approvals(make_session())
    path = f"/v1/approvals/{approval.approval_id}"
    for address in ("/v1/approvals", path):
        assert stranger().get(address).status_code == 401
        assert caller("viewer").get(address).status_code == 200
    assert stranger().post(f"{path}/resolve", {}).status_code == 401
    assert caller("viewer").post(f"{path}/resolve", {"behavior": "allow"}).status_code == 403
    missing = caller().post("/v1/approvals/apr_nobody/resolve", {"behavior": "allow"})
    assert (missing.status_code, code_of(missing)) == (404, "approval_not_found")
    assert caller().get("/v1/approvals/apr_nobody").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"behavior": "maybe"},
        {"behavior": "allow", "extra": 1},
        {"behavior": "allow", "updated_input": []},
        {"behavior": "allow", "reason": "x" * 5000},
        [],
    ],
)
def test_a_vote_that_breaks_the_schema_is_400(body: Any) -> None:
    _, (approval,) = ask_approvals(make_session())
    answer = caller().post(f"/v1/approvals/{approval.approval_id}/resolve", body, format="json")
    assert (answer.status_code, code_of(answer)) == (400, "invalid_request")


def test_list_filters() -> None:
    run, (one, two) = ask_approvals(make_session("a"), 2)
    _, (three,) = ask_approvals(make_session("b"))
    client = caller()
    resolve(client, one, "deny")

    def ids(query: str) -> list[str]:
        return [item["approval_id"] for item in client.get(f"/v1/approvals?{query}").json()["items"]]

    assert ids("") == [three.approval_id, two.approval_id, one.approval_id]
    assert ids("status=pending") == [three.approval_id, two.approval_id]
    assert ids(f"run_id={run.run_id}&status=denied") == [one.approval_id]
    assert ids("session_id=b") == [three.approval_id]
    assert ids("tool_name=bash&limit=1") == [three.approval_id]
    assert ids("tool_name=write_file") == []
    assert client.get("/v1/approvals?status=open").status_code == 400
    assert client.get("/v1/approvals?limit=0").status_code == 400


BATCHES = ["/v1/runs/{run}/approvals", "/v1/sessions/desk/approvals"]


@pytest.mark.parametrize("path", BATCHES)
def test_a_batch_is_decided_together(path: str) -> None:
    run, approvals = ask_approvals(make_session(), 3)
    body = {
        "resolutions": [
            {"approval_id": approvals[0].approval_id, "behavior": "allow"},
            {"request_id": approvals[1].approval_id, "behavior": "deny", "reason": "no"},
            {
                "approval_id": approvals[2].approval_id,
                "behavior": "allow",
                "updated_input": {"command": "make check"},
            },
        ]
    }
    answer = caller().post(path.format(run=run.run_id), body)
    assert answer.status_code == 202, answer.content
    assert (answer.json()["run_id"], answer.json()["status"]) == (run.run_id, "queued")
    statuses = Approval.objects.order_by("id").values_list("status", flat=True)
    assert list(statuses) == ["allowed", "denied", "allowed"]
    again = caller().post(path.format(run=run.run_id), body)
    assert (again.status_code, code_of(again)) == (409, "approval_state_conflict")


@pytest.mark.parametrize("path", BATCHES)
def test_a_batch_is_bound_to_the_calls_that_were_looked_at(path: str) -> None:
    run, (one, two) = ask_approvals(make_session(), 2, required_votes=2)
    edited = resolve(caller(name="ben"), one, **EDIT).json()["digest"]
    cat = caller(name="cat")

    def decide(**digest: str) -> Any:
        votes = [{"approval_id": one.approval_id, **digest}, {"approval_id": two.approval_id}]
        body = {"resolutions": [{"behavior": "allow", **vote} for vote in votes]}
        return cat.post(path.format(run=run.run_id), body)

    assert code_of(decide()) == "approval_digest_required"
    assert code_of(decide(digest=one.digest)) == "approval_state_conflict"
    assert two.votes.count() == 0
    assert decide(digest=edited).status_code == 202
    assert (Approval.objects.get(pk=one.pk).status, two.votes.count()) == ("allowed", 1)


@pytest.mark.parametrize("path", BATCHES)
def test_part_of_a_batch_leaves_the_run_waiting(path: str) -> None:
    run, approvals = ask_approvals(make_session(), 2)
    body = {"resolutions": [{"approval_id": approvals[0].approval_id, "behavior": "allow"}]}
    answer = caller().post(path.format(run=run.run_id), body)
    assert answer.json()["status"] == "waiting_for_approval"
    assert answer.json()["pending_approval_ids"] == [approvals[1].approval_id]


@pytest.mark.parametrize("path", BATCHES)
def test_a_batch_with_one_bad_id_decides_nothing(path: str) -> None:
    run, (one, two) = ask_approvals(make_session(), 2)
    _, (elsewhere,) = ask_approvals(make_session("other"))
    address, client = path.format(run=run.run_id), caller()

    def code(*ids: str) -> tuple[int, str]:
        body = {"resolutions": [{"approval_id": item, "behavior": "allow"} for item in ids]}
        answer = client.post(address, body)
        return answer.status_code, code_of(answer)

    assert code() == (400, "approval_batch_empty")
    assert code(one.approval_id, one.approval_id) == (400, "approval_duplicate_resolution")
    assert code(one.approval_id, "apr_nobody") == (400, "approval_request_not_pending")
    assert code(one.approval_id, elsewhere.approval_id) == (400, "approval_request_not_pending")
    Approval.objects.filter(pk=two.pk).update(roles=["admin"])
    assert code(one.approval_id, two.approval_id) == (403, "approval_vote_forbidden")
    assert set(Approval.objects.values_list("status", flat=True)) == {"pending"}
    assert status_of(run) == RunStatus.WAITING_FOR_APPROVAL
    assert client.post(address, {"resolutions": [{"behavior": "allow"}]}).status_code == 400
    assert caller("viewer").post(address, {"resolutions": []}).status_code == 403
    assert stranger().post(address, {"resolutions": []}).status_code == 401


def test_a_batch_needs_its_run_to_wait() -> None:
    make_session()
    client = caller()
    body = {"resolutions": [{"approval_id": "apr_x", "behavior": "allow"}]}
    assert code_of(client.post("/v1/sessions/desk/approvals", body)) == "approval_state_conflict"
    assert client.post("/v1/sessions/nobody/approvals", body).status_code == 404
    assert client.post("/v1/runs/run_nobody/approvals", body).status_code == 404


def test_a_batch_key_is_answered_once() -> None:
    run, (approval,) = ask_approvals(make_session())
    client, path = caller(), f"/v1/runs/{run.run_id}/approvals"
    body = {"resolutions": [{"approval_id": approval.approval_id, "behavior": "allow"}]}
    first = client.post(path, body, headers={"Idempotency-Key": "k"})
    again = client.post(path, body, headers={"Idempotency-Key": "k"})
    assert (again.status_code, again.json()) == (202, first.json())


def test_an_expired_approval_shows_what_settled_it() -> None:
    session = make_session()
    run, (approval,) = ask_approvals(session)
    Approval.objects.filter(pk=approval.pk).update(status="expired", decision={"behavior": "expired"})
    view = caller("viewer").get(f"/v1/approvals/{approval.approval_id}").json()
    assert (view["status"], view["decision"]) == ("expired", {"behavior": "expired"})
    assert make_call(run, index=9).state == "planned"

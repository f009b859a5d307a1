"""The ledger over HTTP: lists, exports that verify, the key."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from kheish_site.lib import action_chain
from kheish_site.lib.transactions import write
from sessions_app.models import Run, Session
from sessions_app.services import external_actions
from sessions_app.services.external_actions import Action
from tests.factories import code_of
from tests.sessions_app.api.rows import caller, make_run, make_session, stranger

pytestmark = pytest.mark.django_db

EXPORT = "/v1/sessions/desk/external-actions/export"


def act(number: int = 1, *, run: Run | None = None, session_id: str = "", kind: Any = "tool") -> None:
    made = Action(phase="started", kind=kind, target="bash", grant="permission:default")
    with write():
        external_actions.record(*[made] * number, run=run, session_id=session_id)


def items(path: str) -> list[dict[str, Any]]:
    answer = caller("viewer").get(path)
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def verdict(content: bytes) -> action_chain.Verdict:
    return action_chain.verify(content.splitlines(keepends=True), external_actions.public_key())


def test_a_runs_actions_oldest_first_and_page_by_page() -> None:
    session = make_session()
    run = make_run(session)
    act(3, run=run)
    act(1, run=make_run(session))
    path = f"/v1/runs/{run.run_id}/external-actions"
    assert [item["seq"] for item in items(path)] == [1, 2, 3]
    first = caller("viewer").get(f"{path}?limit=2").json()["pagination"]
    assert (first["total_count"], first["order"]) == (3, "asc")
    assert [item["seq"] for item in items(f"{path}?cursor={first['next_cursor']}")] == [3]
    assert {item["run_id"] for item in items(path)} == {run.run_id}


def test_an_item_is_the_record_that_was_signed() -> None:
    act(session_id="desk")
    (item,) = items("/v1/external-actions")
    assert action_chain.is_signed(item, external_actions.public_key())
    assert item["action_id"] == item["record_hash"]
    assert item["at"].endswith("Z")


def test_the_list_narrows() -> None:
    run = make_run(make_session())
    act(run=run)
    act(2)
    act(session_id="other", kind="delivery")
    path = "/v1/external-actions"
    assert len(items(path)) == 4
    assert len(items(f"{path}?kind=delivery")) == 1
    assert len(items(f"{path}?session_id=desk&kind=tool")) == 1
    assert len(items(f"{path}?run_id={run.run_id}")) == 1
    assert caller("viewer").get(f"{path}?kind=nothing").status_code == 400
    assert caller("viewer").get(f"{path}?phase=started").status_code == 400


def test_records_outlive_their_rows() -> None:
    act(session_id="gone")
    assert [item["session_id"] for item in items("/v1/sessions/gone/external-actions")] == ["gone"]
    assert caller("viewer").get("/v1/sessions/gone/external-actions/export").status_code == 200


def test_a_session_without_actions_has_an_empty_list_and_export() -> None:
    make_session()
    assert items("/v1/sessions/desk/external-actions") == []
    answer = caller("viewer").get(EXPORT)
    found = verdict(answer.getvalue())
    assert (found.valid, found.records) == (True, 0)


def test_an_export_verifies_and_names_itself() -> None:
    make_session()
    act(3, session_id="desk")
    act(2)
    answer = caller("viewer").get(EXPORT)
    assert answer["Content-Type"] == "application/x-ndjson"
    assert answer["Cache-Control"] == "no-store"
    assert answer["Content-Disposition"] == 'attachment; filename="external-actions-desk.jsonl"'
    content = answer.getvalue()
    found = verdict(content)
    assert (found.valid, found.bucket, found.records) == (True, "desk", 3)
    for query in ("", "?bucket=unscoped"):
        found = verdict(caller("viewer").get(f"/v1/external-actions/export{query}").getvalue())
        assert (found.valid, found.bucket, found.records) == (True, "unscoped", 2)
    last = json.loads(content.splitlines()[-1])
    assert (last["type"], last["first_seq"], last["last_seq"], last["count"]) == ("checkpoint", 1, 3, 3)


def test_an_export_costs_the_same_however_long() -> None:
    make_session()
    client, costs = caller("viewer"), []
    client.get("/v1/runs/none")
    for number in (3, 1200):
        act(number, session_id="desk")
        with CaptureQueriesContext(connection) as captured:
            assert verdict(client.get(EXPORT).getvalue()).valid
        costs.append(len(captured))
    assert costs == [4, 4]


def test_who_is_missing_and_who_may_not() -> None:
    make_session()
    viewer = caller("viewer")
    for path, code in (
        ("/v1/runs/run_none/external-actions", "run_not_found"),
        ("/v1/sessions/none/external-actions", "session_not_found"),
        ("/v1/sessions/none/external-actions/export", "session_not_found"),
        ("/v1/external-actions/export?bucket=none", "audit_bucket_not_found"),
    ):
        answer = viewer.get(path)
        assert (answer.status_code, code_of(answer)) == (404, code), path
    for path in ("/v1/external-actions", EXPORT, "/v1/runtime/audit-key"):
        assert stranger().get(path).status_code == 401, path
    assert viewer.get(EXPORT, headers={"accept": "text/html"}).status_code == 406
    assert caller("admin").post("/v1/external-actions", {}).status_code == 405


def test_the_key_is_the_one_that_signs() -> None:
    act()
    answer = caller("viewer").get("/v1/runtime/audit-key").json()
    (item,) = items("/v1/external-actions")
    assert answer == {"signature_alg": "ed25519", "public_key": item["key_id"]}


def test_status_says_when_another_key_signed(settings: Any) -> None:
    act()
    warnings = caller("viewer").get("/v1/status").json()["health"]["warnings"]
    assert "audit_key_missing" not in {warning["code"] for warning in warnings}
    settings.KHEISH = replace(settings.KHEISH, audit_signing_key="A" * 43 + "=")
    warnings = caller("viewer").get("/v1/status").json()["health"]["warnings"]
    assert "audit_key_missing" in {warning["code"] for warning in warnings}


@pytest.mark.django_db(transaction=True)
def test_an_event_loop_sends_pieces_as_they_are_read() -> None:
    """As daphne serves it: no warning, nothing read before it is asked for."""
    make_session()
    act(300, session_id="desk")
    authorization = caller("viewer")._credentials["HTTP_AUTHORIZATION"]

    async def read() -> list[bytes]:
        answer = await AsyncClient().get(EXPORT, headers={"authorization": authorization})
        pieces = [piece async for piece in answer]
        await sync_to_async(lambda: connection.close())()  # that thread's own, as the end of a request would
        return pieces

    pieces = asyncio.run(read())
    assert len(pieces) > 1
    found = verdict(b"".join(pieces))
    assert (found.valid, found.records) == (True, 300)
    assert Session.objects.count() == 1

"""Prepared statements do what the ORM does."""

from typing import Any

import pytest
from django.db import IntegrityError
from django.db.models import Model, QuerySet

from connectors_app.models import IngressReceipt
from connectors_app.services import connectors, identities, ingress
from connectors_app.services.deliveries import targets
from kheish_site.lib import clock
from kheish_site.lib.prepared import Prepared, insert, insert_if_new, update
from kheish_site.lib.transactions import write
from sessions_app.engine import context, loop, settle, step, tools_phase
from sessions_app.models import (
    Approval,
    ApprovalVote,
    OperatorDecision,
    Run,
    Session,
    StoredResult,
    ToolCall,
    UserQuestion,
)
from sessions_app.services import (
    approvals,
    decisions,
    external_actions,
    leases,
    questions,
    routes,
    runs,
    runtime_settings,
    secrets,
    sessions,
    tokens,
    waiting,
)
from sessions_app.services.external_actions import Action
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.projections import runs as projected
from tests.connectors_app.conftest import say
from tests.connectors_app.rows import make_connector, make_event
from tests.factories import make_persona, make_run, make_session
from tests.sessions_app.api import rows

pytestmark = pytest.mark.django_db(transaction=True)


def values(row: Any) -> Any:
    if not isinstance(row, Model):
        return row
    own = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    loaded = {name: values(other) for name, other in row._state.fields_cache.items()}
    return type(row), own, loaded, row._state.adding, row._state.db


@pytest.fixture
def world() -> Session:
    make_persona()
    session = make_session(persona_id="reviewer")
    accepted = ingress.accept(make_connector(fixed_session_id="desk"), make_event("event-1"))
    loop.drive(session.pk, Heartbeat("w"))
    assert runs.get(accepted.run.run_id).status == "completed"
    make_run(session)
    return session


def test_each_is_the_orms_own(world: Session) -> None:
    connector = connectors.get("http", "alerts")
    slot = connectors.slot_of(connector, "bearer_token")
    token_hash = tokens._issue("reader", role="viewer", created_by="me", expires_at=None)[0].secret_hash
    asked = make_run(world)
    call = rows.make_call(asked)
    approval = Approval.objects.create(
        approval_id="apr", session=world, run=asked, tool_call=call, tool_name="bash", digest="d" * 64,
        created_at=clock.now(),
    )  # fmt: skip
    question = UserQuestion.objects.create(
        question_id="qst", session=world, run=asked, tool_call=call, created_at=clock.now()
    )
    decision = OperatorDecision.objects.create(
        decision_id="dec", session=world, run=asked, tool_call=call, created_at=clock.now()
    )
    ApprovalVote.objects.create(
        approval=approval, principal="olga", behavior="allow", digest=approval.digest, at=clock.now()
    )
    first, _ = say(world, {"plugin": "http", "address": {"url": "http://example.com/hook"}}, "one", "two")
    with write():
        external_actions.record(Action(phase="started", kind="tool", target="bash"))
    expired = make_session("expired")
    Session.objects.filter(pk=expired.pk).update(lease_owner="gone", lease_expires_at=clock.now())
    reads: list[tuple[Prepared[Any], tuple[Any, ...]]] = [
        (sessions._BY_ID, ("desk",)),
        (sessions._BY_ID, ("nobody",)),
        (runs._HEAD, (world.pk,)),
        (context._CONVERSATION, (world.pk,)),
        (routes._BY_ID, ("scripted",)),
        (routes._DEFAULT, ()),
        (runtime_settings._NEWEST, ()),
        (secrets._BY_ID, (slot,)),
        (secrets._REVISIONS, ()),
        (tokens._BY_HASH, (token_hash,)),
        (tokens._BY_HASH, ("nobody's",)),
        (projected._UP_TO, (world.pk, 10**6)),
        (projected._UP_TO, (world.pk, 0)),
        (connectors._BY_NAME, ("http", "alerts")),
        (identities._PERSON, (connector.pk, "nobody")),
        (ingress._RECEIPT, (connector.pk, "event-1")),
        (step._STEP, (asked.pk, 1)),
        (tools_phase._OF_STEP, (asked.pk, 1)),
        (settle._STOP, (asked.pk,)),
        (external_actions._CHAIN, (external_actions.UNSCOPED,)),
        (sessions._LOCK, (world.pk,)),
        (waiting._AGAIN[Approval], (approval.pk,)),
        (waiting._AGAIN[UserQuestion], (question.pk,)),
        (waiting._AGAIN[OperatorDecision], (decision.pk,)),
        *((items, (asked.pk,)) for _, items in waiting._OPEN),
        (runs._BY_ID, (asked.run_id,)),
        (runs._BY_ID, ("nobody",)),
        (approvals._VOTERS, (approval.pk, approval.digest)),
        (decisions._BY_ID, (decision.decision_id,)),
        (approvals._BY_ID, (approval.approval_id,)),
        (approvals._BY_ID, ("nobody",)),
        (questions._BY_ID, (question.question_id,)),
        (targets._LOCKED, (first.target_id,)),
        (targets._HEAD, (first.target_id,)),
        (targets._BEHIND, (first.target_id, first.pk)),
        (targets._LEFT, ()),
        (targets._FREE, ()),
        (leases._COVERING_NOTHING, (world.pk,)),
        (leases._COVERING_NOTHING, (expired.pk,)),
    ]
    with write():  # some take a row lock
        for read, arguments in reads:
            for _ in range(2):  # compiled, then kept
                prepared = [values(row) for row in read.all(*arguments)]
                assert prepared == [values(row) for row in read._build(*arguments)]
            assert len(read._compile().params) == len(read._compile().places), "a constant is a parameter"
    assert tools_phase._OF_STEP.all(asked.pk, call.step.number) == [call]
    assert leases._COVERING_NOTHING.all(expired.pk) == [(expired.pk,)]
    assert sessions._BY_ID.first("desk") == world
    assert context._CONVERSATION.all(world.pk)


def receipt(session: Session) -> IngressReceipt:
    return IngressReceipt(
        connector=connectors.get("http", "alerts"),
        key="event-2",
        fingerprint="print",
        session=session,
        accepted_at=clock.now(),
    )


def test_a_row_is_inserted_as_save_does_it(world: Session) -> None:
    row = receipt(world)
    insert(row)
    stored = IngressReceipt.objects.get(pk=row.pk)
    fields = [field.attname for field in IngressReceipt._meta.concrete_fields]
    assert [getattr(stored, name) for name in fields] == [getattr(row, name) for name in fields]
    row.duplicates = 5
    row.save()  # it knows that it is there
    assert IngressReceipt.objects.get(key="event-2").duplicates == 5
    assert not insert_if_new(receipt(world))
    other = receipt(world)
    other.key = "event-3"
    assert insert_if_new(other) and IngressReceipt.objects.get(pk=other.pk).key == "event-3"
    with pytest.raises(IntegrityError):
        insert(receipt(world))


def test_a_row_is_updated_as_a_query_does_it(world: Session) -> None:
    call = rows.make_call(make_run(world))
    stored = StoredResult.objects.create(sha256="f" * 64, content="much", size_bytes=4)
    changes = {"state": "started", "prepared": {"to": ["a"]}, "started_at": clock.now(), "stored": stored}
    assert update(call, changes, where={"state": "planned"})
    written = ToolCall.objects.get(pk=call.pk)
    assert {name: getattr(written, name) for name in changes} == changes
    assert not update(call, {"state": "failed"}, where={"state": "planned"})
    assert update(call, {"stored": None}, where={"state": "started", "stored": stored})
    assert ToolCall.objects.filter(pk=call.pk, stored=None, state="started").exists()


def test_an_argument_that_the_text_does_not_hold_is_refused() -> None:
    def build(name: str) -> QuerySet[Session]:
        return Session.objects.filter(session_id__startswith=name)

    with pytest.raises(ValueError, match="argument"):
        Prepared[Run](build, str).all("x")

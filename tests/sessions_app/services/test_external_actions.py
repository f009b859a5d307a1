"""The signed ledger: dense, chained, refused when it cannot be written; and its export, to the byte."""

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection, transaction

from kheish_site.lib import action_chain
from kheish_site.lib.action_chain import Signer
from kheish_site.lib.transactions import TransactionRequired, write
from sessions_app.models import ActionChain, ExternalAction, Route, Session
from sessions_app.services import external_actions, runs, sessions
from sessions_app.services.external_actions import Action, ChainBroken, KeyMissing
from sessions_app.services.sessions import NewSession
from tests.support.engine import race

pytestmark = pytest.mark.django_db(transaction=True)

SENT = Action(
    phase="started", kind="delivery", target="http:address_sha256:0123456789abcdef",
    grant="session:desk", principal="alice", request_digest="a" * 64, delivery_id="dlv_1",
)  # fmt: skip


@pytest.fixture
def session() -> Session:
    made, _ = sessions.create(NewSession(session_id="desk"), principal="alice")
    return made


def record(*actions: Action, **scope: Any) -> list[ExternalAction]:
    with write():
        return external_actions.record(*actions, **scope)


def exported(bucket: str) -> list[bytes]:
    return [line.encode() for line in external_actions.export(bucket)]


def verdict(lines: list[bytes]) -> action_chain.Verdict:
    return action_chain.verify(lines, external_actions.public_key())


def another_key(settings: Any) -> None:
    key = base64.b64encode(os.urandom(32)).decode()
    settings.KHEISH = replace(settings.KHEISH, audit_signing_key=key)


def test_records_are_chained_and_the_export_verifies() -> None:
    first, second = record(SENT, replace(SENT, phase="finished", outcome="sent"))
    (third,) = record(SENT)
    assert [first.seq, second.seq, third.seq] == [1, 2, 3]
    assert [first.prev_hash, second.prev_hash] == ["0" * 64, first.record_hash]
    assert third.prev_hash == second.record_hash
    found = verdict(exported("unscoped"))
    assert found.valid, found.problems
    assert (found.bucket, found.records, found.head) == ("unscoped", 3, third.record_hash)


def test_a_record_names_its_run_and_who_asked(session: Session) -> None:
    Route.objects.create(route_id="main", driver="scripted", model="script", is_default=True)
    run = runs.submit("desk", runs.NewRun(content="go"), principal="carol")
    (made,) = record(replace(SENT, principal=""), run=run)
    assert (made.bucket, made.session_id, made.run_id) == ("desk", "desk", run.run_id)
    assert made.principal_id == "carol"


def test_a_session_of_any_name_has_a_chain_of_its_own() -> None:
    (named,), (nobody,) = record(SENT, session_id="unscoped"), record(SENT)
    assert (named.bucket, nobody.bucket) == ("session/unscoped", "unscoped")
    assert nobody.seq == named.seq == 1


def test_it_needs_the_transaction_of_what_it_reports() -> None:
    with pytest.raises(TransactionRequired):
        external_actions.record(SENT)
    with pytest.raises(RuntimeError, match="undone"), write():
        external_actions.record(SENT)
        raise RuntimeError("undone")
    assert not ExternalAction.objects.exists()
    assert verdict(exported("unscoped")).records == 0


def test_an_empty_chain_exports_its_signed_emptiness() -> None:
    found = verdict(exported("desk"))
    assert found.valid
    assert (found.bucket, found.records) == ("desk", 0)


def test_names_in_a_record_are_bounded_and_hold_no_control_characters() -> None:
    (made,) = record(replace(SENT, target="x\x00\x1b[2J\ud800" + "y" * 900, grant="g" * 900))
    assert len(made.target) == 300
    assert made.target.isprintable()
    assert len(made.grant_id) == 500
    assert verdict(exported("unscoped")).valid


@pytest.mark.parametrize("scope", ["", "desk"])
def test_another_key_may_not_continue_the_records(settings: Any, scope: str) -> None:
    record(SENT)
    before = exported("unscoped")
    another_key(settings)
    assert external_actions.foreign_chains() == 1
    with pytest.raises(KeyMissing):
        record(SENT, session_id=scope)
    assert exported("unscoped") == before  # reading goes on, and shows whose signature it is
    assert not verdict(before).valid


def test_a_head_that_was_written_over_is_refused() -> None:
    record(SENT)
    ActionChain.objects.update(count=0, head="0" * 64)
    with pytest.raises(ChainBroken):
        record(SENT)
    assert not verdict(exported("unscoped")).valid


@pytest.mark.parametrize(
    "written",
    [
        {"key_id": "0" * 64},
        {"key_id": Signer(base64.b64encode(b"k" * 32).decode()).key_id},
        {"key_id": "ff" * 32, "signature": "0" * 128},
        {"key_id": "no key"},
        {"key_id": ""},
    ],
)
def test_a_key_that_was_written_over_stops_its_own_chain_alone(written: dict[str, str]) -> None:
    record(SENT, session_id="one")
    record(SENT)
    ActionChain.objects.filter(bucket="unscoped").update(**written)
    with pytest.raises(ChainBroken):
        record(SENT)
    external_actions.require_key()
    assert external_actions.foreign_chains() == 0
    for bucket, number in (("one", 2), ("new", 1)):
        assert [made.seq for made in record(SENT, session_id=bucket)] == [number]
    assert not verdict(exported("unscoped")).valid


def test_a_chain_that_was_written_over_hides_no_missing_key(settings: Any) -> None:
    for bucket in ("", "one", "two"):
        record(SENT, session_id=bucket)
    ActionChain.objects.filter(bucket="unscoped").update(key_id="0" * 64)
    another_key(settings)
    with pytest.raises(KeyMissing):
        external_actions.require_key()
    assert external_actions.foreign_chains() == 3


def test_rows_changed_in_the_database_are_found() -> None:
    record(SENT, SENT, SENT)
    ExternalAction.objects.filter(seq=2).update(target="http:elsewhere")
    found = verdict(exported("unscoped"))
    assert [problem.line for problem in found.problems] == [2]


def test_rows_deleted_in_the_database_are_found() -> None:
    record(SENT, SENT, SENT)
    ExternalAction.objects.filter(seq=3).delete()
    found = verdict(exported("unscoped"))
    assert [(p.line, "over 3 records" in p.problem) for p in found.problems] == [(3, True)]


def test_writers_of_one_bucket_stay_dense() -> None:
    def append(number: int) -> None:
        for _ in range(5):
            record(replace(SENT, delivery_id=f"dlv_{number}"), replace(SENT, phase="finished"))

    results = race(6, append)
    assert results == [None] * 6
    found = verdict(exported("unscoped"))
    assert found.valid, found.problems
    assert found.records == 60


def test_writers_of_different_buckets_do_not_wait_for_each_other() -> None:
    with write():
        external_actions.record(SENT, session_id="one")
        external_actions.record(SENT, session_id="two")
    results = race(2, lambda number: record(SENT, session_id=("one", "two")[number]))
    assert all(isinstance(made, list) for made in results), results
    assert verdict(exported("one")).records == verdict(exported("two")).records == 2


@pytest.fixture
def statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


def test_appending_costs_three_statements_however_many(statements: list[str]) -> None:
    record(SENT)
    statements.clear()
    record(*[SENT] * 20)
    assert len(statements) <= 3 + 2  # with the transaction's own


def test_whether_another_key_signed_is_asked_of_the_index() -> None:
    record(SENT)
    with connection.cursor() as cursor, transaction.atomic():
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL enable_seqscan = off")  # a few rows are read faster whole
        plan = external_actions._of_other_keys(external_actions.public_key()).values("pk").explain()
    assert "action_chain_key" in plan and "SCAN sessions_app_actionchain" not in plan, plan

"""An event is exactly one run, in the session that the documented order finds."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from connectors_app.models import BindingKey, Connector, IngressReceipt, IngressRefusal
from connectors_app.services import connectors, ingress, resolution
from connectors_app.services.ingress import IngressConflict
from kheish_site.lib import clock
from kheish_site.lib.errors import KheishError, RateLimited
from kheish_site.lib.redaction import MASK, register_secret
from sessions_app.models import JournalEntry, Run, Session
from sessions_app.services import runs, sessions
from sessions_app.services.sessions import NewSession
from tests.connectors_app.rows import make_connector, make_event
from tests.factories import make_persona
from tests.support.engine import race

pytestmark = pytest.mark.django_db


def test_the_first_event_makes_session_run_and_receipt_together() -> None:
    connector = make_connector(fixed_session_id="incident-1")
    accepted = ingress.accept(connector, make_event("a"))
    assert not accepted.duplicate
    assert accepted.session_id == "incident-1"
    receipt = IngressReceipt.objects.get()
    assert receipt.run == accepted.run
    assert accepted.run.source_plugin == "http"
    assert accepted.run.metadata["connector"] == "http/alerts"
    assert accepted.run.requested_by == "connector:http/alerts"


def test_a_repeat_answers_the_same_run_and_creates_nothing() -> None:
    connector = make_connector(fixed_session_id="incident-1")
    first = ingress.accept(connector, make_event("a"))
    for _ in range(3):
        again = ingress.accept(connector, make_event("a"))
        assert again.duplicate
        assert again.run == first.run
    assert Run.objects.count() == 1
    assert IngressReceipt.objects.get().duplicates == 3


def test_another_content_under_the_same_key_is_a_conflict() -> None:
    connector = make_connector(fixed_session_id="incident-1")
    first = ingress.accept(connector, make_event("a"))
    with pytest.raises(IngressConflict) as refused:
        ingress.accept(connector, make_event("a", fingerprint="f" * 64))
    assert refused.value.extra["run_id"] == first.run.run_id


def test_two_connectors_do_not_share_event_ids() -> None:
    one, other = (make_connector(name, fixed_session_id="incident-1") for name in ("one", "other"))
    runs = {ingress.accept(connector, make_event("a")).run.pk for connector in (one, other)}
    assert len(runs) == 2
    assert Session.objects.count() == 1


@pytest.mark.parametrize(
    ("own", "event", "session_id"),
    [
        ({"fixed_session_id": "fixed"}, {"named_session_id": "named", "binding_keys": ("k",)}, "fixed"),
        ({}, {"named_session_id": "named", "natural_session_id": "natural"}, "named"),
        ({}, {"binding_keys": ("known",), "natural_session_id": "natural"}, "bound"),
        ({}, {"binding_keys": ("new",), "natural_session_id": "natural"}, "natural"),
    ],
)
def test_the_order_of_resolution(own: Any, event: Any, session_id: str) -> None:
    before = make_connector("before", fixed_session_id="bound")
    ingress.accept(before, make_event(binding_keys=("known",)))
    accepted = ingress.accept(make_connector(**own), make_event(**event))
    assert accepted.session_id == session_id


def test_bindings_outlive_the_fixed_session() -> None:
    connector = make_connector(fixed_session_id="desk")
    ingress.accept(connector, make_event(binding_keys=("thread-1",)))
    freed, _ = connectors.put("http", "alerts", {"fixed_session_id": ""}, {}, principal="alice")
    assert (
        ingress.accept(freed, make_event(binding_keys=("thread-1",), natural_session_id="n")).session_id
        == "desk"
    )
    assert Session.objects.get(session_id="desk").binding_keys == ["thread-1"]
    bound = JournalEntry.objects.get(kind="session.bound")
    assert bound.payload == {"principal": "connector:http/alerts", "keys": ["thread-1"]}


def test_keys_of_two_sessions_are_a_clear_conflict() -> None:
    ingress.accept(make_connector("one", fixed_session_id="one"), make_event(binding_keys=("k1",)))
    ingress.accept(make_connector("two", fixed_session_id="two"), make_event(binding_keys=("k2",)))
    with pytest.raises(resolution.BindingAmbiguous) as refused:
        ingress.accept(make_connector(), make_event(binding_keys=("k1", "k2")))
    assert refused.value.extra["session_ids"] == ["one", "two"]
    assert refused.value.status == 409


def test_a_key_is_never_bound_again() -> None:
    ingress.accept(make_connector("one", fixed_session_id="one"), make_event(binding_keys=("k1",)))
    with pytest.raises(resolution.BindingTaken):
        ingress.accept(make_connector("two", fixed_session_id="two"), make_event(binding_keys=("k1",)))
    assert BindingKey.objects.get().session.session_id == "one"
    assert not Session.objects.filter(session_id="two").exists()


def test_a_refused_event_leaves_nothing_and_can_come_again() -> None:
    connector = make_connector(fixed_session_id="desk", session_policy={"create_if_missing": False})
    with pytest.raises(resolution.CreationDisabled):
        ingress.accept(connector, make_event("a", binding_keys=("k",)))
    assert not (Session.objects.exists() or IngressReceipt.objects.exists() or BindingKey.objects.exists())
    sessions.create(NewSession(session_id="desk"), principal="alice")
    assert not ingress.accept(connector, make_event("a", binding_keys=("k",))).duplicate


def test_a_refusal_that_people_read_holds_no_secret() -> None:
    register_secret("test", "canary-in-a-refusal-12")
    ingress.note_refusal(make_connector(), KheishError("no session canary-in-a-refusal-12"))
    assert IngressRefusal.objects.get().detail == f"no session {MASK}"


def test_the_policy_makes_the_session_and_is_held_against_an_existing_one() -> None:
    make_persona("reviewer")
    policy = {"persona_id": "reviewer", "credential_scope": {"connector_allow": ["alerts"]}}
    ingress.accept(make_connector(fixed_session_id="desk", session_policy=policy), make_event())
    made = sessions.get("desk")
    assert made.persona is not None
    assert made.persona.persona.persona_id == "reviewer"
    assert made.credential_scope == {"connector_allow": ["alerts"]}
    sessions.create(NewSession(session_id="bare"), principal="alice")
    with pytest.raises(resolution.PolicyMismatch) as refused:
        ingress.accept(make_connector("other", fixed_session_id="bare", session_policy=policy), make_event())
    assert refused.value.extra["differs"] == ["credential_scope", "persona_id"]


def test_a_session_that_leaves_the_policy_while_an_event_comes_in_does_not_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connector = make_connector(
        fixed_session_id="desk", session_policy={"credential_scope": {"route_allow": ["scripted"]}}
    )
    bind, widened = resolution.bind, []

    def late(*told: Any) -> list[str]:
        found = bind(*told)
        if not widened:
            widened.append(Session.objects.update(credential_scope={}, revision=F("revision") + 1))
        return found

    monkeypatch.setattr(resolution, "bind", late)
    with pytest.raises(resolution.PolicyMismatch):
        ingress.accept(connector, make_event(binding_keys=("k",)))
    assert widened == [1] and not Run.objects.exists()


def test_the_order_of_names_in_a_policy_does_not_matter() -> None:
    policy = {"credential_scope": {"connector_allow": ["b", "a", "b"]}}
    connector = make_connector(fixed_session_id="desk", session_policy=policy)
    ingress.accept(connector, make_event())
    assert sessions.get("desk").credential_scope == {"connector_allow": ["a", "b"]}
    sessions.create(
        NewSession(session_id="like-it", credential_scope={"connector_allow": ["a", "b"]}), principal="alice"
    )
    other = make_connector("other", fixed_session_id="like-it", session_policy=policy)
    assert ingress.accept(other, make_event()).session_id == "like-it"
    Session.objects.update(credential_scope=policy["credential_scope"])  # as earlier versions stored it
    assert ingress.accept(other, make_event()).session_id == "like-it"


def test_an_ended_session_takes_no_event() -> None:
    sessions.create(NewSession(session_id="desk"), principal="alice")
    sessions.end("desk", principal="alice")
    with pytest.raises(KheishError) as refused:
        ingress.accept(make_connector(fixed_session_id="desk"), make_event())
    assert refused.value.error_code == "session_ended"


def interrupted(monkeypatch: pytest.MonkeyPatch, deed: Callable[[Session], object]) -> None:
    """Let ``deed`` happen once, between the reading of an event's session and the writing of its run."""
    draft = runs.draft

    def late(session: Session, *given: Any, **named: Any) -> Any:
        change = draft(session, *given, **named)
        deed(session)
        return change

    monkeypatch.setattr(runs, "draft", late)


def test_settings_that_change_while_an_event_comes_in_hold_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = make_connector(fixed_session_id="desk")
    ingress.accept(connector, make_event("a"))
    interrupted(
        monkeypatch,
        lambda session: sessions.set_permission_mode(session.session_id, "plan", principal="alice"),
    )
    accepted = ingress.accept(connector, make_event("b"))
    assert accepted.run.permission_mode == "plan"
    assert Run.objects.count() == 2 and IngressReceipt.objects.count() == 2


def test_a_session_that_goes_while_an_event_comes_in_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    connector = make_connector(fixed_session_id="desk")
    gone, _ = sessions.create(NewSession(session_id="desk"), principal="alice")
    interrupted(monkeypatch, lambda session: Session.objects.filter(pk=session.pk).delete())
    JournalEntry.objects.all().delete()
    accepted = ingress.accept(connector, make_event("a"))
    assert accepted.run.session.session_id == "desk" and accepted.run.session_id != gone.pk


def test_too_many_events_are_told_when_to_come_back_and_repeats_are_free() -> None:
    connector = make_connector(fixed_session_id="desk", ingress_events_per_second=2)
    ingress.accept(connector, make_event("a"))
    ingress.accept(connector, make_event("b"))
    with pytest.raises(RateLimited) as refused:
        ingress.accept(connector, make_event("c"))
    assert refused.value.error_code == "http_ingress_rate_limited"
    assert refused.value.extra["retry_after_seconds"] >= 1
    assert ingress.accept(connector, make_event("a")).duplicate


def test_explicit_targets_become_the_sessions_defaults_and_the_journal_says_who_did_it() -> None:
    connector = make_connector(fixed_session_id="desk")
    target = {"plugin": "daemon", "address": {"session_id": "desk"}}
    accepted = ingress.accept(connector, make_event(reply_targets=(target,)))
    assert accepted.run.reply_targets == [target]
    assert sessions.get("desk").reply_targets == [target]
    entry = JournalEntry.objects.get(kind="session.updated")
    assert entry.payload["connector"] == "http/alerts"
    assert entry.payload["reply_targets"] == {"from": [], "to": [target]}
    ingress.accept(connector, make_event(reply_targets=(target,)))
    assert JournalEntry.objects.filter(kind="session.updated").count() == 1


def test_a_pinned_session_keeps_its_targets() -> None:
    sessions.create(NewSession(session_id="desk"), principal="alice")
    Session.objects.update(reply_targets_pinned=True)
    target = {"plugin": "daemon", "address": {"session_id": "elsewhere"}}
    accepted = ingress.accept(make_connector(fixed_session_id="desk"), make_event(reply_targets=(target,)))
    assert accepted.run.reply_targets == [target]
    assert sessions.get("desk").reply_targets == []


@pytest.mark.django_db(transaction=True)
def test_one_event_delivered_by_many_at_once_is_one_run() -> None:
    connector = make_connector(fixed_session_id="desk")
    results = race(8, lambda number: ingress.accept(connector, make_event("same", binding_keys=("k",))))
    assert not [result for result in results if isinstance(result, Exception)], results
    assert len({result.run.pk for result in results}) == 1
    assert sum(not result.duplicate for result in results) == 1
    assert Run.objects.count() == IngressReceipt.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_events_racing_for_one_key_all_end_in_one_session() -> None:
    makers = [make_connector(f"c{number}") for number in range(6)]
    results = race(
        6,
        lambda number: ingress.accept(
            makers[number], make_event(binding_keys=("shared",), natural_session_id=f"own-{number}")
        ),
    )
    assert not [result for result in results if isinstance(result, Exception)], results
    assert len({result.session_id for result in results}) == 1
    assert Run.objects.count() == 6


def test_receipts_are_forgotten_in_time(settings: Any) -> None:
    connector = make_connector(fixed_session_id="desk")
    first = ingress.accept(connector, make_event("a"))
    assert ingress.purge() == 0
    IngressReceipt.objects.update(accepted_at=clock.now() - timedelta(days=8))
    assert ingress.purge() == 1
    assert ingress.accept(connector, make_event("a")).run != first.run
    settings.KHEISH = replace(settings.KHEISH, keep_receipts_days=0)
    IngressReceipt.objects.update(accepted_at=clock.now() - timedelta(days=800))
    assert ingress.purge() == 0


def test_a_flood_of_refusals_is_counted_and_written_now_and_then(held_back: list[Callable[[], None]]) -> None:
    connector = make_connector()
    for number in range(50):
        ingress.note_refusal(connector, KheishError(f"no {number}", code="bad"))
    assert IngressRefusal.objects.get().count == 1
    (rest,) = held_back
    rest()
    found = IngressRefusal.objects.get()
    assert (found.count, found.detail) == (50, "no 49")


def test_a_connector_that_is_gone_has_no_refusals(held_back: list[Callable[[], None]]) -> None:
    connector = make_connector()
    for _ in range(2):
        ingress.note_refusal(connector, KheishError("no", code="bad"))
    Connector.objects.all().delete()
    (rest,) = held_back
    rest()
    assert not IngressRefusal.objects.exists()

"""Finding things: by whole ids and their beginnings, by outside names, by words; bounded, indexed, masked."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from connectors_app.services import connectors, ingress
from connectors_app.services.contracts import InboundEvent
from kheish_site.lib.canonical import sha256_hex
from sessions_app.admin import addresses
from sessions_app.models import Run, RunStatus
from sessions_app.services import audit, search
from sessions_app.services.principal import Principal
from sessions_app.services.search import SearchTextInvalid
from tests.factories import code_of, make_client
from tests.sessions_app.api.rows import (
    ask_approvals,
    ask_decision,
    ask_question,
    make_persona,
    make_run,
    make_session,
    make_task,
    move,
)

pytestmark = pytest.mark.django_db

VERA = Principal(name="vera", role="viewer", auth_method="token")
ADA = Principal(name="ada", role="admin", auth_method="token")


def found(text: str, who: Principal = VERA) -> list[tuple[str, str, str]]:
    return [(hit.kind, hit.item_id, hit.by) for hit in search.search(text, principal=who).items]


def jump(text: str, who: Principal = VERA) -> tuple[str, str] | None:
    hit = search.search(text, principal=who).jump
    return None if hit is None else (hit.kind, hit.item_id)


def said(run: Run, *contents: str) -> Run:
    outputs = [{"content": content, "parts": []} for content in contents]
    return move(run, RunStatus.RUNNING, RunStatus.COMPLETED, outputs=outputs)


def test_a_whole_id_jumps() -> None:
    run, (approval,) = ask_approvals(make_session())
    _, question = ask_question(make_session("q"))
    _, decision = ask_decision(make_session("d"))
    task = make_task(run, "text")
    persona = make_persona().persona
    wanted = [
        ("run", run.run_id), ("session", "desk"), ("approval", approval.approval_id),
        ("question", question.question_id), ("decision", decision.decision_id), ("task", task.task_id),
        ("tool_call", approval.tool_call.call_id), ("persona", persona.persona_id), ("route", "scripted"),
    ]  # fmt: skip
    for kind, item_id in wanted:
        assert jump(item_id) == (kind, item_id)
        assert jump(f"  {item_id} ") == (kind, item_id)
    (hit,) = (h for h in search.search(approval.approval_id, principal=VERA).items if h.kind == "approval")
    assert hit.run_id == run.run_id


def test_the_beginning_of_an_id_is_enough_but_does_not_jump() -> None:
    run = make_run(make_session("incident-4821"))
    assert found(run.run_id[:12]) == [("run", run.run_id, "id")]
    assert found("incident-4") == [("session", "incident-4821", "id")]
    assert jump("incident-4") is None
    assert found("in") == [("session", "incident-4821", "text")], "no beginning of an id, but words"
    assert found("incident_4") == []
    assert found("inc%") == []


def test_an_idempotency_key_finds_its_run() -> None:
    make_session()
    client = make_client("operator")
    body, key = {"content": "go"}, "deploy-2026-11-26"
    run = client.post("/v1/sessions/desk/runs", body, headers={"Idempotency-Key": key}).json()
    assert found(key) == [("run", run["run_id"], "idempotency_key")]


def test_names_of_platforms_find_runs_and_sessions() -> None:
    make_session("incident")
    alerts, _ = connectors.put("http", "alerts", {}, {"bearer_token": {"value": "b" * 20}}, principal="ada")
    event = InboundEvent(
        key="evt-77", fingerprint=sha256_hex("x"), actor_id="pager-9", source_kind="alert", content="slow",
        natural_session_id="incident", binding_keys=("pager:INC-7",),
    )  # fmt: skip
    ingress.accept(alerts, event)
    run = Run.objects.get()
    assert found("evt-77") == [("run", run.run_id, "event_key")]
    assert found("pager:INC-7") == [("session", "incident", "binding_key")]
    assert found("pager-9") == [("run", run.run_id, "text")]
    assert found("alerts") == [("connector", "http/alerts", "id")]


def test_words_of_inputs_and_outputs() -> None:
    session = make_session()
    first = said(make_run(session, "Why is the checkout slow?"), "The pool was «full»")
    second = said(make_run(session, "And now?"), "Still slow, é")
    assert found("CHECKOUT") == [("run", first.run_id, "text")]
    assert found("slow") == [("run", second.run_id, "text"), ("run", first.run_id, "text")]
    assert found("«full»") == [("run", first.run_id, "text")]
    assert found("slow, é") == [("run", second.run_id, "text")]
    assert found("nothing like it") == []
    (hit,) = search.search("checkout", principal=VERA).items
    assert (hit.excerpt, hit.session_id) == ("Why is the checkout slow?", "desk")


def test_a_quote_is_found_as_it_was_said() -> None:
    run = said(make_run(make_session()), 'he said "go" and \\ went')
    assert found('said "go"') == [("run", run.run_id, "text")]


def test_a_long_text_is_cut_around_what_was_found() -> None:
    make_run(make_session(), "a " * 200 + "needle" + " b" * 200)
    (hit,) = search.search("needle", principal=VERA).items
    assert hit.excerpt.startswith("…")
    assert hit.excerpt.endswith("…")
    assert len(hit.excerpt) < 140


def test_what_is_masked_is_not_found() -> None:
    run = make_run(make_session(), "hello")
    Run.objects.filter(pk=run.pk).update(input_message={"content": "use Bearer abcdef0123456789 please"})
    assert found("abcdef0123456789") == []
    (hit,) = search.search("please", principal=VERA).items
    assert "abcdef0123456789" not in hit.excerpt


def test_audit_entries_are_the_admins() -> None:
    entry = audit.record("x.done", "x", "1")
    assert entry is not None
    assert jump(entry.entry_id) is None
    assert jump(entry.entry_id, ADA) == ("audit_entry", entry.entry_id)


def test_each_thing_once_and_a_limit() -> None:
    session = make_session("checkout-1")
    for _ in range(4):
        make_run(session, "checkout-1")
    result = search.search("checkout-1", principal=VERA, limit=3)
    assert (len(result.items), result.more) == (3, True)
    assert result.jump is not None
    assert [hit.kind for hit in result.items].count("session") == 1
    assert not search.search("checkout-1", principal=VERA, limit=50).more


@pytest.mark.parametrize("text", ["x", "ü", "火"])
def test_a_character_may_be_a_word(text: str) -> None:
    run = make_run(make_session(), f"say {text}!")
    assert found(text) == [("run", run.run_id, "text")]
    told = said(make_run(make_session("other")), f"so: {text}")
    assert ("run", told.run_id, "text") in found(text)


def test_only_the_newest_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session()
    old = make_run(session, "needle")
    new = make_run(session, "needle")
    monkeypatch.setattr(search, "WINDOW", 1)
    assert found("needle") == [("run", new.run_id, "text")]
    assert jump(old.run_id) == ("run", old.run_id)


@pytest.mark.parametrize("text", ["", "   ", "x" * 201])
def test_a_search_for_nothing_or_too_much_is_refused(text: str) -> None:
    with pytest.raises(SearchTextInvalid):
        search.search(text, principal=VERA)


def queries(text: str) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        search.search(text, principal=ADA, limit=50)
    return [query["sql"] for query in captured]


def test_the_cost_is_the_same_however_much_there_is() -> None:
    costs = []
    for number in (1, 5):
        for n in range(number):
            make_run(make_session(f"s-{number}-{n}"), "needle")
        costs.append(len(queries("needle")))
    assert costs == [14, 14]


def test_no_table_is_read_whole() -> None:
    """Every query finds its rows by an index; text is read in a window that the primary key bounds."""
    for n in range(30):
        make_run(make_session(f"s-{n}"), "needle")
    for sql in [*queries("run_01JD7ZK4T9V2M8Q6W3X5Y7Z9AB"), *queries("needle")]:
        assert not scans(sql), (sql, scans(sql))


SMALL = ("sessions_app_persona", "sessions_app_route", "connectors_app_connector")
"""Tables of configuration: a few rows, however long the history is."""


def scans(sql: str) -> list[str]:
    """The steps of the plan that read a table from end to end, without a bound over its primary key."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = [str(row[3]) for row in cursor.fetchall()]
            whole = [step for step in plan if step.startswith("SCAN ") and " USING " not in step]
            bounded = "LIMIT 2000" in sql  # SCAN U0: in order of the row id, for as many rows
            whole = [step for step in whole if not (bounded and step == "SCAN U0")]
        else:
            cursor.execute("SET LOCAL enable_seqscan = off")
            cursor.execute(f"EXPLAIN {sql}")
            whole = [row[0] for row in cursor.fetchall() if "Seq Scan" in row[0]]
    return [step for step in whole if not any(name in step for name in SMALL)]


def test_the_api_answers_viewers_and_refuses_nonsense() -> None:
    run = make_run(make_session())
    client = make_client("viewer")
    answer = client.get(f"/v1/search?q={run.run_id}").json()
    assert answer["jump"]["id"] == run.run_id
    assert answer["items"][0]["kind"] == "run"
    assert code_of(client.get("/v1/search")) == "invalid_request"
    for nonsense in ("", "%20", "x" * 201):
        assert code_of(client.get(f"/v1/search?q={nonsense}")) == "invalid_search"
    assert client.get("/v1/search?q=x&limit=500").status_code == 400


def test_every_hit_has_a_page(admin_client: Any) -> None:
    run, _ = ask_approvals(make_session())
    for hit in search.search(run.run_id, principal=ADA).items:
        url = addresses.of_id(hit.kind, hit.item_id)
        assert admin_client.get(url).status_code == 200
    assert addresses.of_id("tool", "x") == ""

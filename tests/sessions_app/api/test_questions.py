"""Questions: listed, answered as a whole, declined, cancelled; settled once."""

from datetime import timedelta
from typing import Any

import pytest

from kheish_site.lib import clock
from sessions_app.models import RunStatus, UserQuestion
from tests.factories import code_of
from tests.sessions_app.api.rows import ask_question, caller, make_session, stranger

pytestmark = pytest.mark.django_db

ANSWER = {"answers": [{"question_id": "where", "selected_option_ids": ["s"]}]}


def resolve(client: Any, question: UserQuestion, body: Any = ANSWER, **headers: Any) -> Any:
    path = f"/v1/questions/{question.question_id}/resolve"
    return client.post(path, body, format="json", headers=headers)


def test_a_question_shows_its_options_and_its_end() -> None:
    run, question = ask_question(make_session(), expires_after_seconds=3600)
    view = caller("viewer").get(f"/v1/questions/{question.question_id}").json()
    assert (view["run_id"], view["status"], view["answers"]) == (run.run_id, "pending", [])
    (asked,) = view["questions"]
    assert (asked["id"], asked["header"], asked["multi_select"]) == ("where", "Target", False)
    assert asked["options"][1] == {"id": "p", "label": "production", "description": ""}
    assert view["expires_at"] > view["created_at"]


def test_what_an_option_looks_like_is_kept_and_redacted() -> None:
    options = [
        {"id": "a", "label": "a", "preview": "token=kh_canary4711\n\u202etext"},
        {"id": "b", "label": "b"},
    ]
    _, question = ask_question(make_session(), questions=[{"question": "Which?", "options": options}])
    view = caller("viewer").get(f"/v1/questions/{question.question_id}").json()
    first, second = view["questions"][0]["options"]
    assert first["preview"].endswith("\n\u202etext") and "canary4711" not in str(view)
    assert "preview" not in second


def test_an_answer_lets_the_run_go_on() -> None:
    run, question = ask_question(make_session())
    answer = resolve(caller(name="ann"), question, {**ANSWER, "justification": "asked around"})
    assert answer.status_code == 200, answer.content
    view = answer.json()
    assert (view["status"], view["resolved_by"], view["justification"]) == ("answered", "ann", "asked around")
    assert view["answers"] == [{"question_id": "where", "selected_option_ids": ["s"], "freeform_answer": ""}]
    run.refresh_from_db()
    assert run.status == RunStatus.QUEUED
    question.tool_call.refresh_from_db()
    assert question.tool_call.state == "succeeded"
    assert "Which cluster? staging" in question.tool_call.content


def test_own_words_and_declining() -> None:
    _, one = ask_question(make_session("a"))
    words = {"answers": [{"question_id": "where", "freeform_answer": "the blue one"}]}
    assert resolve(caller(), one, words).json()["answers"][0]["freeform_answer"] == "the blue one"
    run, two = ask_question(make_session("b"))
    view = resolve(caller(), two, {"declined": True}).json()
    assert (view["status"], view["answers"]) == ("declined", [])
    run.refresh_from_db()
    assert run.status == RunStatus.QUEUED


def test_repeats_and_conflicts() -> None:
    _, question = ask_question(make_session())
    first = resolve(caller(name="ann"), question, ANSWER, **{"Idempotency-Key": "k"})
    assert resolve(caller(name="ben"), question).json() == first.json()
    other = {"answers": [{"question_id": "where", "selected_option_ids": ["p"]}]}
    for body in (other, {"declined": True}):
        answer = resolve(caller(), question, body)
        assert (answer.status_code, code_of(answer)) == (409, "question_state_conflict")
        assert answer.json()["resolved_by"] == "ann"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "question_answer_missing"),
        ({"answers": []}, "question_answer_missing"),
        ({"answers": [{"question_id": "when", "selected_option_ids": ["s"]}]}, "question_unknown_answer"),
        ({"answers": [{"question_id": "where", "selected_option_ids": ["x"]}]}, "question_option_not_found"),
        (
            {"answers": [{"question_id": "where", "selected_option_ids": ["s", "p"]}]},
            "question_single_select_violation",
        ),
        (
            {"answers": [{"question_id": "where", "selected_option_ids": ["s", "s"]}]},
            "question_duplicate_option",
        ),
        ({"answers": [{"question_id": "where"}]}, "question_answer_empty"),
        ({"answers": [{"question_id": "where", "freeform_answer": " "}]}, "question_answer_empty"),
        ({"answers": ANSWER["answers"] * 2}, "question_duplicate_answer"),
        ({**ANSWER, "declined": True}, "question_declined_with_answers"),
        ({"answers": "s"}, "invalid_request"),
        ({"answers": [{"question": "where"}]}, "invalid_request"),
        ({"declined": "yes"}, "invalid_request"),
        ({**ANSWER, "answer": 1}, "invalid_request"),
        ([], "invalid_request"),
    ],
)
def test_answers_that_do_not_fit_leave_it_pending(body: Any, code: str) -> None:
    run, question = ask_question(make_session())
    answer = resolve(caller(), question, body)
    assert (answer.status_code, code_of(answer)) == (400, code)
    run.refresh_from_db()
    assert run.status == RunStatus.WAITING_FOR_USER_QUESTION


def test_an_answer_after_the_time_is_409() -> None:
    _, question = ask_question(make_session())
    UserQuestion.objects.update(expires_at=clock.now() - timedelta(seconds=1))
    answer = resolve(caller(), question)
    assert (answer.status_code, code_of(answer)) == (409, "question_expired")


def test_cancelling_cancels_the_run() -> None:
    run, question = ask_question(make_session())
    path = f"/v1/questions/{question.question_id}/cancel"
    client = caller(name="ann")
    first = client.post(path, {"justification": "nobody knows"})
    assert (first.status_code, first.json()["status"]) == (200, "cancelled")
    assert (first.json()["resolved_by"], first.json()["justification"]) == ("ann", "nobody knows")
    assert client.post(path, {}).json() == first.json()
    run.refresh_from_db()
    assert run.status == RunStatus.CANCELLED
    late = resolve(client, question)
    assert (late.status_code, code_of(late)) == (409, "question_state_conflict")
    assert late.json()["resolved_by"] == "ann"
    _, answered = ask_question(make_session("b"))
    resolve(client, answered)
    refused = client.post(f"/v1/questions/{answered.question_id}/cancel", {})
    assert (refused.status_code, code_of(refused)) == (409, "question_state_conflict")
    assert client.post("/v1/questions/qst_nobody/cancel", {}).status_code == 404


def test_viewers_look_and_operators_answer() -> None:
    _, question = ask_question(make_session())
    path = f"/v1/questions/{question.question_id}"
    for address in ("/v1/questions", path):
        assert stranger().get(address).status_code == 401
        assert caller("viewer").get(address).status_code == 200
    for verb in ("resolve", "cancel"):
        assert stranger().post(f"{path}/{verb}", {}).status_code == 401
        assert caller("viewer").post(f"{path}/{verb}", {}).status_code == 403
    missing = caller().post("/v1/questions/qst_nobody/resolve", ANSWER)
    assert (missing.status_code, code_of(missing)) == (404, "question_not_found")
    assert caller().get("/v1/questions/qst_nobody").status_code == 404


def test_list_filters() -> None:
    run, one = ask_question(make_session("a"))
    _, two = ask_question(make_session("b"))
    client = caller()
    resolve(client, one)

    def ids(query: str) -> list[str]:
        return [item["question_id"] for item in client.get(f"/v1/questions?{query}").json()["items"]]

    assert ids("") == [two.question_id, one.question_id]
    assert ids("status=pending") == [two.question_id]
    assert ids("session_id=a&status=answered") == [one.question_id]
    assert ids(f"run_id={run.run_id}") == [one.question_id]
    assert client.get("/v1/questions?status=open").status_code == 400

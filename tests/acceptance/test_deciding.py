"""People who decide at the same moment: one wins, the others learn who, the run goes on once.

Here with two workers; ``tests/integration/test_races.py`` has the races of one process, on either database.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kheish_site.cli.transport import Problem
from tests.support.service_api import Api, call, refused

pytestmark = [pytest.mark.slow, pytest.mark.services_only]

DECIDERS = 16
APPEND = call("bash", command="echo once >> effects.txt")


def deciders(api: Api) -> list[Api]:
    """Sixteen people, each with a token of their own."""
    made = (
        api.client.request("POST", "/v1/tokens", {"name": f"decider-{n}-{api.session()}", "role": "admin"})
        for n in range(DECIDERS)
    )
    return [Api(api.url, token["token"]) for token in made]


def race(people: list[Api], noun: str, item_id: str, bodies: list[dict[str, Any]]) -> list[Any]:
    """Let everybody resolve at once; returns answers and problems in the order of the people."""
    barrier = threading.Barrier(len(people))

    def decide(person: Api, body: dict[str, Any]) -> Any:
        barrier.wait(10)
        try:
            return person.resolve(noun, item_id, **body)
        except Problem as problem:
            return problem

    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(decide, people, bodies))


def test_racing_deciders_settle_an_approval_once(api: Api):
    people = deciders(api)
    behaviors = ["allow" if number % 2 else "deny" for number in range(DECIDERS)]
    for _ in range(2):
        session, run_id = api.start({"tool_calls": [APPEND]}, {"text": "{{ last_result }}"})
        api.until(run_id, "waiting_for_approval")
        approval = api.pending("approvals", run_id)["approval_id"]
        answers = race(people, "approvals", approval, [{"behavior": word} for word in behaviors])
        settled = api.client.get(f"/v1/approvals/{approval}")
        winner = settled["decision"]["behavior"]
        for word, answer in zip(behaviors, answers, strict=True):
            if word == winner:
                assert not isinstance(answer, Problem) and answer["decision"] == settled["decision"], answer
            else:
                assert isinstance(answer, Problem) and answer.status == 409, answer
                assert answer.document["decision"]["principal"] == settled["decision"]["principal"]
        api.until(run_id, "completed")
        kinds = [entry["kind"] for entry in api.journal(session)]
        assert kinds.count("approval.allowed") + kinds.count("approval.denied") == 1, kinds
        assert (kinds.count("run.resumed"), kinds.count("run.completed")) == (1, 1)
        effects = Path(api.client.sessions(session).get()["workspace"]) / "effects.txt"
        assert effects.exists() == (winner == "allow")
        assert not effects.exists() or effects.read_text() == "once\n"


def test_racing_answers_settle_a_question_once(api: Api):
    options = [{"id": f"o{number}", "label": f"Option {number}"} for number in range(4)]
    asked = {"id": "q", "question": "Which?", "options": options}
    session, run_id = api.start(
        {"tool_calls": [call("ask_user_question", questions=[asked])]}, {"text": "{{ last_result }}"}
    )
    api.until(run_id, "waiting_for_user_question")
    question = api.pending("questions", run_id)["question_id"]
    bodies = [
        {"answers": [{"question_id": "q", "selected_option_ids": [f"o{number % 4}"]}]}
        for number in range(DECIDERS)
    ]
    answers = race(deciders(api), "questions", question, bodies)
    chosen = api.client.get(f"/v1/questions/{question}")["answers"][0]["selected_option_ids"]
    for body, answer in zip(bodies, answers, strict=True):
        agreed = body["answers"][0]["selected_option_ids"] == chosen
        assert isinstance(answer, Problem) != agreed, answer
        assert agreed or answer.status == 409, answer
    view = api.until(run_id, "completed")
    assert f"Option {chosen[0].removeprefix('o')}" in view["outputs"][0]["content"]
    assert [entry["kind"] for entry in api.journal(session)].count("question.answered") == 1


def test_a_denial_reaches_the_agent_and_a_late_word_is_refused_with_the_winner(api: Api):
    _, run_id = api.start({"tool_calls": [APPEND]}, {"text": "heard: {{ last_result }}"})
    api.until(run_id, "waiting_for_approval")
    approval = api.pending("approvals", run_id)["approval_id"]
    api.resolve("approvals", approval, behavior="deny", reason="not on a Friday")
    assert "not on a Friday" in api.until(run_id, "completed")["outputs"][0]["content"]
    late = refused(lambda: api.resolve("approvals", approval, behavior="allow"))
    assert (late.status, late.document["decision"]["behavior"]) == (409, "deny")
    again = api.resolve("approvals", approval, behavior="deny")
    assert again["decision"]["reason"] == "not on a Friday"

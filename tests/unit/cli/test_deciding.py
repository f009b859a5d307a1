"""Approvals, questions and decisions from the command line."""

import json
from pathlib import Path

import pytest

from kheish_site.cli.exits import UsageError
from kheish_site.cli.nouns.questions import build_answers
from tests.unit.cli.fake_service import page, problem

APPROVAL = {
    "approval_id": "apr_1",
    "session_id": "demo",
    "tool_name": "bash",
    "status": "pending",
    "risk": "high",
    "digest": "d1",
    "edited": False,
    "input": {"command": "ls", "timeout_seconds": 5},
}
EDITED = APPROVAL | {"digest": "d2", "edited": True, "input": {"command": "rm\u200b -r x"}}
ALLOWED = APPROVAL | {"status": "allowed"}
ONE = {
    "id": "q1",
    "question": "Where?",
    "options": [{"id": "eu", "label": "Europe"}, {"id": "us", "label": "US, all"}],
}
TWO = {"id": "q2", "question": "When?", "multi_select": True, "options": [{"id": "mon"}, {"id": "tue"}]}


@pytest.fixture
def approvals(service):
    service.on("GET", "/v1/approvals/apr_1", APPROVAL)
    service.on("POST", "/v1/approvals/apr_1/resolve", ALLOWED)
    return service


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An editor that writes the texts given, one each time it is opened."""

    def use(*texts: str) -> None:
        for number, text in enumerate(texts):
            (tmp_path / f"text{number}").write_text(text)
        script = tmp_path / "editor"
        script.write_text(
            f'#!/bin/sh\nn=$(cat {tmp_path}/n 2>/dev/null || echo 0)\ncp {tmp_path}/text$n "$1"\n'
            f'touch "$1~"\necho $((n+1)) > {tmp_path}/n\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("EDITOR", str(script))
        monkeypatch.delenv("VISUAL", raising=False)

    return use


def test_allow_sends_the_decision_and_the_reasons(approvals, kheish) -> None:
    result = kheish("approvals", "allow", "apr_1", "--justification", "fine", "--reason", "r")
    assert (result.code, result.out) == (0, "apr_1  bash  allowed\n")
    said = {"justification": "fine", "reason": "r"}
    assert approvals.last().body == {"behavior": "allow", "digest": "d1", **said}
    assert approvals.last().headers["idempotency-key"]


def test_deny(approvals, kheish) -> None:
    assert kheish("approvals", "deny", "apr_1", "-q").out == "apr_1\n"
    assert approvals.last().body == {"behavior": "deny"}


def test_a_terminal_shows_the_call_that_is_allowed(approvals, kheish) -> None:
    result = kheish("approvals", "allow", "apr_1", tty=True)
    assert result.code == 0
    assert "apr_1  demo  bash  (high risk)" in result.err
    assert '{"command": "ls", "timeout_seconds": 5}' in result.err
    assert approvals.last().body["digest"] == "d1"


@pytest.mark.parametrize(("answer", "code", "sent"), [("y\n", 0, ["d2"]), ("n\n", 1, [])])
def test_a_call_that_was_edited_is_shown_and_asked_about(approvals, kheish, answer, code, sent) -> None:
    approvals.on("GET", "/v1/approvals/apr_1", EDITED)
    result = kheish("approvals", "allow", "apr_1", stdin=answer, tty=True)
    assert result.code == code
    assert "rm\\u200b -r x" in result.err and "A voter changed it" in result.err
    assert [seen.body["digest"] for seen in approvals.seen if seen.method == "POST"] == sent


@pytest.mark.parametrize("options", [{}, {"tty": True}])
def test_an_edited_call_nobody_looked_at_is_left_to_the_service(approvals, kheish, options) -> None:
    approvals.on("GET", "/v1/approvals/apr_1", EDITED)
    refused = problem(409, "approval_digest_required", "the call was edited", approval_id="apr_1")
    approvals.on("POST", "/v1/approvals/apr_1/resolve", refused)
    result = kheish("approvals", "allow", "apr_1", "--yes", **options)
    assert result.code == 6
    assert "Look at it: kheish approvals get apr_1" in result.err
    assert approvals.last().body == {"behavior": "allow"}


def test_a_digest_of_another_call_says_how_to_look_again(approvals, kheish) -> None:
    refused = problem(409, "approval_state_conflict", "the digest is another one", approval_id="apr_1")
    approvals.on("POST", "/v1/approvals/apr_1/resolve", refused)
    result = kheish("approvals", "allow", "apr_1", "--digest", "deadbeef")
    assert result.code == 6 and "Look at it: kheish approvals get apr_1" in result.err


def test_a_digest_may_be_given(approvals, kheish) -> None:
    approvals.on("GET", "/v1/approvals/apr_1", EDITED)
    assert "approvals allow apr_1 --digest d2" in kheish("approvals", "get", "apr_1").err
    assert kheish("approvals", "allow", "apr_1", "--digest", "d1").code == 0
    assert approvals.last().body == {"behavior": "allow", "digest": "d1"}


def test_set_keeps_types_and_shows_the_diff(approvals, kheish) -> None:
    result = kheish("approvals", "allow", "apr_1", "--set", "timeout_seconds=60", "--set", "env.deep=true")
    assert result.code == 0
    expected = {"command": "ls", "timeout_seconds": 60, "env": {"deep": True}}
    assert approvals.last().body["updated_input"] == expected
    assert '-  "timeout_seconds": 5' in result.err


@pytest.mark.parametrize("pair", ["command", "command=ls", "=1", "command.x=1"])
def test_a_wrong_set_decides_nothing(approvals, kheish, pair) -> None:
    assert kheish("approvals", "allow", "apr_1", "--set", pair).code == 2
    assert [seen.method for seen in approvals.seen] == ["GET"]


def test_the_input_may_come_from_a_file(approvals, kheish, tmp_path) -> None:
    (tmp_path / "new.json").write_text('{"command": "pwd"}')
    assert kheish("approvals", "allow", "apr_1", "--input-file", "new.json").code == 0
    assert approvals.last().body["updated_input"] == {"command": "pwd"}


def test_edit_shows_the_diff_and_asks(approvals, kheish, editor) -> None:
    editor('{"command": "pwd", "timeout_seconds": 5}')
    result = kheish("approvals", "allow", "apr_1", "--edit", stdin="y\n", tty=True)
    assert result.code == 0
    assert '+  "command": "pwd"' in result.err
    assert "Allow apr_1 with these edits? [y/N]" in result.err
    assert approvals.last().body["updated_input"]["command"] == "pwd"


def test_edit_can_be_given_up(approvals, kheish, editor) -> None:
    editor('{"command": "pwd"}')
    result = kheish("approvals", "allow", "apr_1", "--edit", stdin="n\n", tty=True)
    assert result.code == 1
    assert [seen.method for seen in approvals.seen] == ["GET"]


def test_broken_json_is_edited_again(approvals, kheish, editor) -> None:
    editor("{", '{"command": "pwd"}')
    result = kheish("approvals", "allow", "apr_1", "--edit", stdin="y\ny\n", tty=True)
    assert result.code == 0
    assert "the edited input is not JSON" in result.err


def test_edit_without_a_person_needs_yes(approvals, kheish, editor) -> None:
    editor('{"command": "pwd"}')
    assert kheish("approvals", "allow", "apr_1", "--edit", "--no-input").code == 2
    assert approvals.seen[-1].method == "GET"


def test_an_unchanged_edit_sends_no_input(approvals, kheish, editor) -> None:
    editor(json.dumps(APPROVAL["input"]))
    assert kheish("approvals", "allow", "apr_1", "--edit", "--yes").code == 0
    assert "updated_input" not in approvals.last().body


def test_somebody_was_faster(approvals, kheish) -> None:
    winner = {
        "approval_id": "apr_1",
        "status": "denied",
        "decision": {"behavior": "deny", "principal": "ana", "at": "2026-01-01T10:00:00Z"},
    }
    conflict = problem(409, "approval_state_conflict", "already decided", approval=winner)
    approvals.on("POST", "/v1/approvals/apr_1/resolve", conflict)
    result = kheish("approvals", "allow", "apr_1")
    assert result.code == 6
    assert "deny by ana at 2026-01-01T10:00:00Z" in result.err


@pytest.mark.parametrize(
    ("argv", "address", "members", "said"),
    [
        (("questions", "decline", "qst_1"), "/v1/questions/qst_1/resolve", {}, "decided by ana"),
        (
            ("deliveries", "decide", "dlv_1", "happened"),
            "/v1/deliveries/dlv_1/decide",
            {"decision": "give_up"},
            "give_up by ana",
        ),
        (
            ("decisions", "decide", "dec_1", "happened"),
            "/v1/decisions/dec_1/resolve",
            {"outcome": "tell_agent"},
            "tell_agent by ana",
        ),
    ],
)
def test_whoever_was_faster_is_named_with_the_word_that_won(
    approvals, kheish, argv, address, members, said
) -> None:
    approvals.on("POST", address, problem(409, "state_conflict", "too late", resolved_by="ana", **members))
    result = kheish(*argv)
    assert (result.code, result.err) == (6, f"error: too late\n  {said}\n")


def test_a_vote_among_several_says_what_is_missing(approvals, kheish) -> None:
    vote = {"principal": "me", "behavior": "allow", "voided": False}
    approvals.on("POST", "/v1/approvals/apr_1/resolve", APPROVAL | {"required_votes": 2, "votes": [vote]})
    assert "1 more needed" in kheish("approvals", "allow", "apr_1").err


def test_allow_all_of_a_session(approvals, kheish) -> None:
    approvals.on("GET", "/v1/approvals", page(APPROVAL, APPROVAL | {"approval_id": "apr_2"}))
    approvals.on("POST", "/v1/approvals/apr_2/resolve", problem(409, "approval_state_conflict", "too late"))
    result = kheish("approvals", "allow-all", "--session-id", "demo")
    assert (result.code, result.out) == (6, "apr_1  bash  allowed\n")
    assert "apr_2: too late" in result.err
    assert approvals.seen[0].query == {"status": "pending", "session_id": "demo", "limit": "100"}
    assert approvals.last().body == {"behavior": "allow", "digest": "d1"}


@pytest.fixture
def three(approvals):
    """The second of three is refused: with 403, until a test says otherwise."""
    approvals.on("GET", "/v1/approvals", page(*(APPROVAL | {"approval_id": f"apr_{n}"} for n in (1, 2, 3))))
    refusal = problem(403, "approval_high_risk_forbidden", "a yes needs the role admin")
    approvals.on("POST", "/v1/approvals/apr_2/resolve", refusal)
    approvals.on("POST", "/v1/approvals/apr_3/resolve", ALLOWED | {"approval_id": "apr_3"})
    return approvals


def test_one_that_is_forbidden_does_not_stop_the_others(three, kheish) -> None:
    result = kheish("approvals", "allow-all", "--everything", "--json")
    assert result.code == 6
    assert "apr_2: a yes needs the role admin" in result.err
    told = json.loads(result.out)
    assert [item["approval_id"] for item in told["items"]] == ["apr_1", "apr_3"]
    assert [(item["approval_id"], item["code"]) for item in told["refused"]] == [
        ("apr_2", "approval_high_risk_forbidden")
    ]


def test_when_nothing_may_be_decided_it_says_not_allowed(three, kheish) -> None:
    three.on("GET", "/v1/approvals", page(APPROVAL | {"approval_id": "apr_2"}))
    result = kheish("approvals", "allow-all", "--everything")
    assert (result.code, result.out) == (4, "")
    assert "Nothing was waiting" not in result.err


def test_what_was_decided_before_the_service_failed_is_told(three, kheish) -> None:
    three.on("POST", "/v1/approvals/apr_2/resolve", problem(500, "internal", "broken"))
    result = kheish("approvals", "allow-all", "--everything")
    assert (result.code, result.out) == (1, "apr_1  bash  allowed\n")
    assert "broken" in result.err


def test_nothing_to_decide_is_said_once(approvals, kheish) -> None:
    approvals.on("GET", "/v1/approvals", page())
    result = kheish("approvals", "allow-all", "--everything")
    assert (result.code, result.out, result.err) == (0, "", "Nothing was waiting.\n")
    assert json.loads(kheish("approvals", "allow-all", "--everything", "--json").out)["items"] == []


def test_all_of_everything_must_be_said(kheish) -> None:
    assert kheish("approvals", "deny-all").code == 2


LONG = APPROVAL | {"input": {"command": "echo " + "x" * 300 + "\u202e; rm\u200b -rf /\x1b[8m"}}


def test_on_a_terminal_allow_all_shows_every_call_whole_and_asks(approvals, kheish) -> None:
    approvals.on("GET", "/v1/approvals", page(APPROVAL, LONG | {"approval_id": "apr_2", "risk": "low"}))
    result = kheish("approvals", "allow-all", "--everything", stdin="\n", tty=True)
    assert (result.code, result.out) == (1, "")
    shown, _ = result.err.split("Allow these 2? [y/N]")
    assert "apr_1  demo  bash  (high risk)" in shown and '{"command": "ls"' in shown
    assert "apr_2  demo  bash  (low risk)" in shown
    assert "x" * 300 + "\\u202e; rm\\u200b -rf /\\u001b[8m" in shown
    assert [seen.method for seen in approvals.seen] == ["GET"]


@pytest.mark.parametrize(("yes", "body"), [((), {"digest": "d2"}), (("--yes",), {})])
def test_allow_all_allows_an_edited_call_that_was_shown(approvals, kheish, yes, body) -> None:
    approvals.on("GET", "/v1/approvals", page(EDITED))
    assert kheish("approvals", "allow-all", "--everything", *yes, stdin="y\n", tty=True).code == 0
    assert approvals.last().body == {"behavior": "allow", **body}


def test_an_empty_list_says_so(service, kheish) -> None:
    service.on("GET", "/v1/approvals", page())
    result = kheish("approvals", "list")
    assert (result.out, result.err) == ("", "Nothing waits for approval.\n")
    assert service.last("GET").query["status"] == "pending"


def test_a_record_cannot_steer_the_terminal(service, kheish) -> None:
    evil = APPROVAL | {"input": {"command": "rm\x1b[8m"}, "reason": "\x1b]0;x\x07why"}
    service.on("GET", "/v1/approvals/apr_1", evil)
    result = kheish("approvals", "get", "apr_1")
    assert "\x1b" not in result.out + result.err
    assert "rm\\u001b[8m" in result.out


@pytest.mark.parametrize("masked", [True, False])
def test_a_call_that_is_not_shown_whole_says_so(service, kheish, masked) -> None:
    service.on("GET", "/v1/approvals/apr_1", APPROVAL | {"input_masked": masked})
    assert ("Parts of the input are masked" in kheish("approvals", "get", "apr_1").err) is masked


EXACT = {"call_id": "call_1", "digest": "d1", "input": {"command": "curl -u me:secret"}}
MASKED = APPROVAL | {
    "call_id": "call_1",
    "run_id": "run_1",
    "input_masked": True,
    "input": {"command": "***"},
}


def test_a_masked_call_is_shown_whole_to_whoever_asks(service, kheish) -> None:
    service.on("GET", "/v1/approvals/apr_1", MASKED)
    service.on("GET", "/v1/tool-calls/call_1/unredacted", EXACT)
    assert "All of it: kheish approvals get apr_1 --unredacted" in kheish("approvals", "get", "apr_1").err
    shown = kheish("approvals", "get", "apr_1", "--unredacted", "--reason", "why")
    assert "curl -u me:secret" in shown.out
    assert "masked:" not in shown.err and "approvals allow apr_1 --digest d1" in shown.err
    assert service.last("GET").query == {"reason": "why"}


def test_what_was_asked_is_not_shown_for_what_was_edited(service, kheish) -> None:
    service.on("GET", "/v1/approvals/apr_1", MASKED | {"digest": "d2", "edited": True})
    service.on("GET", "/v1/tool-calls/call_1/unredacted", EXACT)
    shown = kheish("approvals", "get", "apr_1", "--unredacted")
    assert (shown.code, shown.out) == (1, "")
    assert "a voter changed the call" in shown.err and "runs export run_1 --unredacted" in shown.err


def test_who_waits_hears_that_a_call_is_masked(service, kheish) -> None:
    waiting = {"run_id": "run_1", "status": "waiting_for_approval", "pending_approval_ids": ["apr_1"]}
    service.on("GET", "/v1/runs/run_1", waiting)
    service.on("GET", "/v1/approvals/apr_1", [MASKED, APPROVAL])
    told = kheish("runs", "get", "run_1").err
    assert "not all of the call" in told and "Look:    kheish approvals get apr_1 --unredacted" in told
    assert "unredacted" not in kheish("runs", "get", "run_1").err


@pytest.mark.parametrize(
    ("questions", "choices", "texts", "expected"),
    [
        ([ONE], ["eu"], [], [("q1", ["eu"], None)]),
        ([ONE], ["europe"], [], [("q1", ["eu"], None)]),
        ([ONE], ["2"], [], [("q1", ["us"], None)]),
        ([ONE], ["US, all"], [], [("q1", ["us"], None)]),
        ([ONE, TWO], ["q1=us", "q2=mon,tue"], [], [("q1", ["us"], None), ("q2", ["mon", "tue"], None)]),
        ([ONE], [], ["a=b"], [("q1", [], "a=b")]),
        ([ONE, TWO], ["q1=eu"], ["q2=later"], [("q1", ["eu"], None), ("q2", [], "later")]),
    ],
)
def test_answers_are_understood(questions, choices, texts, expected) -> None:
    answers = build_answers(questions, choices, texts)
    found = [(a["question_id"], a["selected_option_ids"], a.get("freeform_answer")) for a in answers]
    assert found == expected


@pytest.mark.parametrize(("questions", "choices"), [([ONE], ["asia"]), ([ONE, TWO], ["eu"]), ([ONE], ["0"])])
def test_unclear_answers_are_refused(questions, choices) -> None:
    with pytest.raises(UsageError):
        build_answers(questions, choices, [])


@pytest.fixture
def questions(service):
    service.on(
        "GET", "/v1/questions/qst_1", {"question_id": "qst_1", "status": "pending", "questions": [ONE, TWO]}
    )
    service.on("POST", "/v1/questions/qst_1/resolve", {"question_id": "qst_1", "status": "answered"})
    return service


def test_answering_on_the_command_line(questions, kheish) -> None:
    assert kheish("questions", "answer", "qst_1", "q1=eu", "--text", "q2=soon").code == 0
    assert questions.last().body == {
        "answers": [
            {"question_id": "q1", "selected_option_ids": ["eu"]},
            {"question_id": "q2", "selected_option_ids": [], "freeform_answer": "soon"},
        ],
        "declined": False,
    }


def test_answering_when_asked(questions, kheish) -> None:
    assert kheish("questions", "answer", "qst_1", stdin="1\n1,2\n", tty=True).code == 0
    picked = [answer["selected_option_ids"] for answer in questions.last().body["answers"]]
    assert picked == [["eu"], ["mon", "tue"]]


def test_nobody_to_ask_gives_an_example(questions, kheish) -> None:
    result = kheish("questions", "answer", "qst_1")
    assert result.code == 2
    assert "kheish questions answer qst_1 q1=eu q2=mon" in result.err


def test_previews_are_shown_as_plain_text(service, kheish) -> None:
    options = [
        {"id": "a", "label": "A", "preview": "- one\n+ t\u200bwo \x1b[31mred"},
        {"id": "b", "label": "B"},
    ]
    question = {"id": "q", "question": "Which?", "options": options}
    service.on("GET", "/v1/questions/qst_1", {"question_id": "qst_1", "questions": [question]})
    service.on("POST", "/v1/questions/qst_1/resolve", {"question_id": "qst_1", "status": "answered"})
    shown = "     | - one\n     | + t\\u200bwo \\u001b[31mred\n"
    result = kheish("questions", "answer", "qst_1", stdin="1\n", tty=True)
    assert f"  1. A\n{shown}  2. B\n" in result.err
    assert f"A looks like this:\n{shown}" in kheish("questions", "get", "qst_1").err


def test_declining(questions, kheish) -> None:
    assert kheish("questions", "decline", "qst_1", "--justification", "no").code == 0
    assert questions.last().body == {"answers": [], "declined": True, "justification": "no"}


def test_deciding_a_doubtful_effect(service, kheish) -> None:
    service.on("POST", "/v1/decisions/dec_1/resolve", {"decision_id": "dec_1", "status": "resolved"})
    assert kheish("decisions", "decide", "dec_1", "not-happened", "--note", "looked").code == 0
    assert service.last().body == {"outcome": "not_happened", "note": "looked"}


def test_a_made_up_outcome_is_refused(kheish, capsys) -> None:
    assert kheish("decisions", "decide", "dec_1", "maybe").code == 2

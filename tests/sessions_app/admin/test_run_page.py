"""The page of a run: one timeline, whatever its length, and what keeps the run from moving."""

import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from sessions_app.admin import addresses, run_page
from sessions_app.models import AuditEntry, Run
from sessions_app.services import approvals, journal, runs
from sessions_app.services.approvals import Vote
from sessions_app.services.principal import Principal
from tests.factories import make_asset, make_run, make_session
from tests.sessions_app.admin.conftest import Desk, call, drive, waiting_approval, waiting_decision
from tests.sessions_app.admin.test_masks import shown

pytestmark = pytest.mark.django_db(transaction=True)


def page_of(run: Run) -> str:
    return addresses.of(run)


def text(client: Client, run: Run, query: str = "") -> str:
    answer = client.get(page_of(run) + query)
    assert answer.status_code == 200
    return answer.content.decode()


def append(run: Run, number: int, *, start: int = 0) -> None:
    """Write `number` more messages into the run's journal."""
    entries = [
        journal.entry(
            run.session.session_id,
            "message.created",
            {"role": "assistant", "content": f"line {start + n}", "step": start + n + 2},
            run=run,
        )
        for n in range(number)
    ]
    journal.append(run.session_id, *entries)


def test_a_finished_run_tells_all_in_order(desk: Desk) -> None:
    run = drive(
        {"text": "I look.", "tool_calls": [call("glob_search", pattern="*.md")]}, {"text": "Nothing there."}
    )
    page = text(desk("viewer"), run)
    told = (">Queued<", "I look.", "Runs glob_search: *.md", ">glob_search: *.md<", "Nothing there.")
    places = [page.index(words) for words in told]
    assert places == sorted(places)
    assert 'id="step-1"' in page and 'id="step-2"' in page
    assert 'data-over="yes"' in page and "Run again" not in page
    assert "in the queue" in page and "kh-span-model" in page and "kh-span-tool" in page


def test_a_plan_is_told_once_and_in_words(desk: Desk) -> None:
    todos = [{"id": "look", "content": "Look at the pods", "completed": False}]
    run = drive({"text": "I plan.", "tool_calls": [call("todo_write", todos=todos)]}, {"text": "done"})
    page = text(desk("viewer"), run)
    assert "Plan" in page and "Look at the pods" in page
    lines = page[page.index('id="kh-journal"') :].split("<li ")
    returned = next(line for line in lines if "tool.returned" in line)
    assert "kh-quiet" in returned


def test_waiting_is_drawn_and_leads_to_the_inbox(desk: Desk) -> None:
    approval = waiting_approval()
    page = text(desk("operator"), approval.run)
    assert "kh-span-waited" in page and "waits for approval" in page and "Review in inbox" in page
    assert reverse("admin:console_inbox_item", args=[approval.approval_id]) in page
    assert "echo hello" in page and "Cancel…" in page
    assert f"<title>(1) desk / {approval.run.run_id} | Kheish</title>" in page


def test_approval_edit_and_recovery_stand_in_one_timeline(desk: Desk) -> None:
    approval = waiting_approval(command="make deploy")
    who = Principal(name="lea", role="admin", auth_method="session")
    approvals.resolve(
        approval.approval_id, Vote(behavior="allow", updated_input={"command": "make test"}), principal=who
    )
    recovered = journal.entry(
        approval.session.session_id, "run.recovered", {"worker": "w-2"}, run=approval.run
    )
    journal.append(approval.session_id, recovered)
    page = text(desk("viewer"), approval.run)
    timeline = page[page.index('id="kh-journal"') : page.index("data-typing")]
    told = ("Asks to run bash: make deploy", "approval.edited", "approval.allowed", "its worker was lost")
    places = [timeline.index(words) for words in told]
    assert places == sorted(places)


def test_a_queued_run_says_behind_what(desk: Desk) -> None:
    approval = waiting_approval()
    page = text(desk("viewer"), make_run(approval.session))
    assert "Open that run" in page
    assert reverse("admin:sessions_app_run_change", args=[approval.run.run_id]) in page


def test_an_effect_in_doubt_leads_to_where_it_is_decided(desk: Desk) -> None:
    decision = waiting_decision()
    page = text(desk("operator"), decision.run)
    assert "Say what happened" in page
    assert page.count(reverse("admin:console_inbox_item", args=[decision.decision_id])) >= 2


def test_a_failure_is_said_at_the_top_with_its_event(desk: Desk) -> None:
    run = drive({"text": "", "fault": {"kind": "invalid", "message": "no such model"}}, session_id="bad")
    page = text(desk("viewer"), run)
    banner = page[page.index("kh-banner kh-bad") :][:600]
    seq = run.session.entries.get(kind="run.failed").seq
    assert "no such model" in banner and f"#ev-{seq}" in banner and f'id="ev-{seq}"' in page


def test_a_long_journal_comes_in_pages_and_costs_the_same(desk: Desk) -> None:
    run, client = waiting_approval().run, desk("viewer")
    costs = []
    for start in (0, 400):
        append(run, 400, start=start)
        client.get(page_of(run))
        with CaptureQueriesContext(connection) as captured:
            page = text(client, run)
        costs.append(len(captured))
        assert page.count("data-seq=") == run_page.SHOWN
    assert costs[0] == costs[1] <= 30, costs
    first = int(page[page.index("?before=") + 8 :].partition('"')[0])
    earlier = text(client, run, f"?before={first}")
    assert f'id="ev-{first - 1}"' in earlier and f'id="ev-{first}"' not in earlier


def test_new_lines_come_as_the_page_shows_them(desk: Desk) -> None:
    run, client = waiting_approval().run, desk("viewer")
    last = run.session.entries.order_by("-seq")[0].seq
    append(run, 2)
    url = reverse("admin:console_run_lines", args=[run.run_id])
    lines = client.get(url, {"after": last}).content.decode()
    assert lines.count("data-seq=") == 2 and "line 0" in lines and "<html" not in lines
    assert client.get(url, {"after": last + 2}).content.decode().strip() == ""
    assert desk("").get(url).status_code == 403
    assert desk("root").get(reverse("admin:console_run_lines", args=["run_none"])).status_code == 404


def test_refreshing_leaves_the_journal_out(desk: Desk) -> None:
    run = waiting_approval().run
    assert "data-seq=" not in text(desk("viewer"), run, "?part=facts")


def test_a_payload_is_sent_when_it_is_opened(desk: Desk) -> None:
    run = waiting_approval(command="curl -H 'Authorization: Bearer abcdefgh12345678' example.test").run
    entry, client = run.session.entries.get(kind="approval.requested"), desk("viewer")
    url = reverse("admin:console_event", args=[entry.pk])
    part = client.get(url, headers={"X-Console": "part"}).content.decode()
    assert "approval_id" in part and "abcdefgh12345678" not in part and "<html" not in part
    assert client.get(url).status_code == 302


def test_a_run_is_asked_again(desk: Desk) -> None:
    run = drive({"text": "fine"}, session_id="again")
    client = desk("operator")
    again = addresses.of_verb(run, "again")
    answer = client.post(again, {"confirmed": "yes", "content": "once more"}, follow=True)
    newest = Run.objects.order_by("-pk")[0]
    assert answer.redirect_chain[-1][0] == page_of(newest)
    assert newest.input_message["content"] == "once more" and newest.metadata["again_of"] == run.run_id
    assert desk("viewer").post(again, {"confirmed": "yes", "content": "x"}).status_code == 403


def test_a_run_is_asked_again_with_its_files_unless_they_are_edited_away(desk: Desk) -> None:
    asset, session, client = make_asset(), make_session("files"), desk("operator")
    run = make_run(session, attachments=[{"asset_id": asset.asset_id}])
    runs.cancel(run.run_id, principal="alice")
    run.refresh_from_db()
    again = addresses.of_verb(run, "again")
    sent = shown(client, again)
    assert asset.asset_id in sent["content"]
    for content, files in ((sent["content"], 1), ("only words", 0)):
        assert client.post(again, {"confirmed": "yes", "content": content}).status_code == 302
        newest = Run.objects.order_by("-pk")[0]
        assert newest.pk != run.pk
        assert sum(item["type"] == "asset_reference" for item in newest.input_items) == files


def test_tabs_count_by_status(desk: Desk) -> None:
    drive({"text": "fine"}, session_id="good")
    waiting_approval("one"), waiting_approval("two")
    make_run(waiting_approval("three").session)
    answer: Any = desk("viewer").get(reverse("admin:sessions_app_run_changelist"), {"needs": "waiting"})
    tabs = {tab.name: tab for tab in answer.context["console_status_tabs"]}
    assert {name: tab.number for name, tab in tabs.items() if tab.number} == {
        "Waiting": 3,
        "Queued": 1,
        "Completed": 1,
    }
    assert [name for name, tab in tabs.items() if tab.current] == ["Waiting"]
    assert len(answer.context["cl"].result_list) == 3


@pytest.mark.parametrize(
    ("table", "words", "others"),
    [
        ("sessions_app_run", "Waits for an answer", "Waits for user question"),
        ("sessions_app_toolcall", "Awaiting approval", "Awaiting Approval"),
        ("sessions_app_operatordecision", "Not happened", "Not Happened"),
        ("connectors_app_delivery", "Dead lettered", "Dead Lettered"),
    ],
)
def test_filters_by_status_speak_as_badges_do(desk: Desk, table: str, words: str, others: str) -> None:
    page = desk("viewer").get(reverse(f"admin:{table}_changelist")).content.decode()
    assert words in page and others not in page


def test_a_run_is_exported_from_its_page(desk: Desk) -> None:
    run, client = drive({"text": "done"}), desk("viewer")
    page = text(client, run)
    url = reverse("run-export", args=[run.run_id])
    assert f'href="{url}" download' in page and "Export unmasked" not in page
    answer = client.get(url)
    written = json.loads(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
    assert written["run"]["run_id"] == run.run_id and written["redacted"]
    assert answer["Content-Disposition"] == f'attachment; filename="{run.run_id}.json"'
    assert client.get(url, {"unredacted": "true", "reason": "curious"}).status_code == 403


def test_unmasked_it_is_exported_by_those_with_the_right_and_says_why(desk: Desk) -> None:
    run = drive({"text": "done"})
    assert "Export unmasked" not in text(desk("operator"), run)  # who may decide high risks, and not look
    client = desk("admin")
    assert 'id="kh-export-reason" name="reason" maxlength="1000" required' in text(client, run)
    url = reverse("run-export", args=[run.run_id])
    answer = client.get(url, {"unredacted": "true", "reason": "incident 4821"})
    assert not json.loads(b"".join(answer.streaming_content))["redacted"]  # type: ignore[attr-defined]
    deed = AuditEntry.objects.get(object_id=run.run_id)
    assert (deed.action, deed.reason, deed.principal) == ("run.exported_unredacted", "incident 4821", "admin")

"""A form that is sent twice, by a double click or a retry, does its verb once and is answered the same."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from sessions_app.admin import addresses, verb_pages
from sessions_app.models import ApiToken, IdempotencyRecord, Run
from tests.factories import make_route, make_run, make_session
from tests.sessions_app.admin.conftest import Desk, drive, waiting_approval
from tests.sessions_app.admin.test_verbs import new_url, said

pytestmark = pytest.mark.django_db(transaction=True)


def twice(client: Any, page: str, url: str, **fields: str) -> list[Any]:
    key = client.get(page).context["console_once" if page != url else "once"]
    sent = {"confirmed": "yes", "once": key, **fields}
    return [client.post(url, sent), client.post(url, sent)]


def test_a_double_click_on_send_makes_one_run(desk: Desk) -> None:
    make_route()
    session, client = make_session(), desk("operator")
    page, url = addresses.of(session), addresses.of_verb(session, "say")
    first, second = twice(client, page, url, content="go")
    assert (first["Location"], second["Location"]) == (page, page)
    assert said(first) in said(second) and Run.objects.count() == 1
    key = client.get(page).context["console_once"]
    assert f'name="once" value="{key}"' not in client.get(page).content.decode()  # each page has its own
    for content in ("one", "two"):
        client.post(url, {"confirmed": "yes", "once": key, "content": content})
    twice(client, page, url, content="go")
    assert Run.objects.count() == 4


def test_a_run_is_asked_again_once_and_a_route_tested_once(desk: Desk) -> None:
    run, client = drive({"text": "done"}, session_id="again"), desk("admin")
    url = addresses.of_verb(run, "again")
    first, second = twice(client, url, url, content="go")
    assert first["Location"] == second["Location"] and Run.objects.count() == 2
    url = addresses.of_verb(make_route("other"), "test")
    twice(client, url, url)
    assert Run.objects.count() == 3


def test_a_secret_is_shown_by_the_second_answer_too(desk: Desk) -> None:
    client, url = desk("admin"), new_url(ApiToken, "token")
    first, second = twice(client, url, url, name="ci", role="viewer")
    assert first.context["once"].startswith("kh_") and first.context["once"] == second.context["once"]
    assert first.context["once"] not in IdempotencyRecord.objects.get().body
    url = reverse("admin:auth_user_new", args=["person"])
    first, second = twice(client, url, url, username="lea", role="viewer")
    assert first.context["once"] == second.context["once"]
    assert User.objects.get(username="lea").check_password(first.context["once"])


def test_what_was_refused_may_be_sent_again(desk: Desk) -> None:
    client, url = desk("admin"), new_url(ApiToken, "token")
    for answer in twice(client, url, url, name="local", role="viewer"):
        assert "Refused" in answer.content.decode()
    assert not IdempotencyRecord.objects.exists()


def test_many_runs_are_asked_again_each_once(desk: Desk) -> None:
    done = [drive({"text": "done"}, session_id=f"again-{n}") for n in range(2)]
    live, client = waiting_approval("live").run, desk("operator")
    url = reverse("admin:sessions_app_run_changelist")
    chosen = {"action": "again", "_selected_action": [row.pk for row in (*done, live)]}
    asked = client.post(url, {**chosen, "index": "0"})
    sent = {**chosen, "confirmed": "yes", "once": asked.context["once"]}
    words = "2 asked again, 1 refused: the run is still waiting_for_approval"
    assert [said(client.post(url, sent)).split(" | ")[-1] for _ in range(2)] == [words, words]
    assert [Run.objects.filter(session=row.session_id).count() for row in (*done, live)] == [2, 2, 1]
    for row in done:
        again = Run.objects.filter(session=row.session_id).latest("pk")
        assert again.metadata["again_of"] == row.run_id and again.input_items == row.input_items


def test_runs_of_one_session_are_asked_again_in_their_order(desk: Desk) -> None:
    runs = [drive({"text": "done"}, {"text": "done"}, session_id="one")]
    runs.append(make_run(runs[0].session, "second"))
    Run.objects.filter(pk=runs[1].pk).update(status="failed")
    url, client = reverse("admin:sessions_app_run_changelist"), desk("operator")
    chosen = {"action": "again", "_selected_action": [row.pk for row in runs]}
    asked = client.post(url, {**chosen, "index": "0"})
    assert [row["pk"] for row in asked.context["rows"]] == [
        runs[1].pk,
        runs[0].pk,
    ]  # newest first, as the list
    client.post(url, {**chosen, "confirmed": "yes", "once": asked.context["once"]})
    made = Run.objects.filter(metadata__has_key="again_of").order_by("position")
    assert [run.metadata["again_of"] for run in made] == [row.run_id for row in runs]


def test_what_makes_something_new_goes_through_no_more_rows_than_one_request_may(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verb_pages, "MOST_ROWS", 1)
    rows = [drive({"text": "done"}, session_id=f"again-{n}") for n in range(2)]
    chosen = {"action": "again", "_selected_action": [row.pk for row in rows], "index": "0"}
    answer = desk("operator").post(reverse("admin:sessions_app_run_changelist"), chosen)
    assert said(answer) == "Each becomes something new: at most 1. Nothing was done."
    assert Run.objects.count() == 2

"""Reply targets of a session whose credential scope changes after its creation."""

import threading
import time
from typing import Any

import pytest
from django.db import connection

from connectors_app.services.reply_targets import ReplyTargetForbidden
from kheish_site.lib.transactions import write
from sessions_app.models import JournalEntry, Run, Session
from sessions_app.services import reply_targets, runs, session_scopes, sessions
from sessions_app.services.principal import SYSTEM
from tests.connectors_app.kinds.slack.world import make_slack
from tests.factories import make_client, make_run, make_session

SLACK = {"plugin": "slack", "address": {"connector": "ops", "channel_id": "C024BE91L"}}
HOOK = {"plugin": "http", "address": {"url": "http://10.0.0.7/", "allow_private_network": True}}
NO_SLACK = {"connector_deny": ["ops"]}


def narrow() -> Session:
    return session_scopes.set_credential_scope("desk", NO_SLACK, principal=SYSTEM)


def stored() -> list[Any]:
    return list(Session.objects.get(session_id="desk").reply_targets)


@pytest.mark.django_db
def test_defaults_out_of_the_new_scope_are_taken_away() -> None:
    make_slack()
    make_session(reply_targets=[SLACK, HOOK])
    operator = make_client("operator")
    answer = operator.post("/v1/sessions/desk/credential-scope", {"credential_scope": NO_SLACK})
    assert answer.status_code == 200, answer.content
    assert stored() == [HOOK]  # an admin pointed it into the private network
    (entry,) = JournalEntry.objects.filter(kind="session.updated")
    assert entry.payload["credential_scope"] == {"from": {}, "to": NO_SLACK}
    assert entry.payload["reply_targets"] == {"from": [SLACK, HOOK], "to": [HOOK]}
    again = {"credential_scope": {"connector_deny": ["ops", "other"]}}
    assert operator.post("/v1/sessions/desk/credential-scope", again).json()["reply_targets"] == [HOOK]
    last = JournalEntry.objects.filter(kind="session.updated").latest("seq")
    assert "reply_targets" not in last.payload


@pytest.mark.django_db
def test_runs_that_exist_keep_theirs() -> None:
    make_slack()
    run = make_run(make_session(reply_targets=[SLACK]))
    runs.cancel(run.run_id, principal="alice")
    narrow()
    run.refresh_from_db()
    assert (run.reply_targets, stored()) == ([SLACK], [])


@pytest.mark.django_db
def test_targets_judged_for_an_earlier_scope_are_judged_again() -> None:
    make_slack()
    before = sessions.get(make_session().session_id)
    narrow()
    new = runs.NewRun(content="go", source_plugin="slack", reply_targets=[SLACK])
    with pytest.raises(ReplyTargetForbidden):
        runs.submit("desk", new, principal="alice", session=before)
    assert not Run.objects.exists() and stored() == []


@pytest.mark.django_db(transaction=True)
def test_a_default_is_judged_by_the_scope_it_is_stored_beside() -> None:
    make_slack()
    make_session()
    answers: list[BaseException | None] = []

    def point() -> None:
        try:
            reply_targets.replace("desk", [SLACK], principal=SYSTEM)
            answers.append(None)
        except ReplyTargetForbidden as refusal:
            answers.append(refusal)
        finally:
            connection.close()

    pointing = threading.Thread(target=point)
    with write():
        sessions.lock(Session.objects.get(session_id="desk").pk)
        pointing.start()
        time.sleep(0.3)  # it waits for the row by now, having read the session if it reads it before
        narrow()
    pointing.join()
    assert isinstance(answers[0], ReplyTargetForbidden) and stored() == []

"""Two people open the same form: who saves second is told, and undoes nothing."""

from typing import Any

import pytest

from connectors_app.models import ObservationKind, ObservationSource
from connectors_app.services.observations import sources
from connectors_app.services.observations.sources import SourceFields
from sessions_app.admin import addresses
from sessions_app.models import RuntimeRevision
from sessions_app.services import runtime_settings
from tests.factories import make_persona, make_route, make_session
from tests.sessions_app.admin.conftest import Desk
from tests.sessions_app.admin.test_masks import shown
from tests.sessions_app.admin.test_verbs import new_url

pytestmark = pytest.mark.django_db(transaction=True)
TOLD = "root changed it after this form was opened"


def race(desk: Desk, url: str, field: str, theirs: Any, mine: Any) -> Any:
    """Two forms of the same revision, saved one after the other: what the second is answered."""
    first, second = desk("root"), desk("admin")
    told = [shown(client, url) for client in (first, second)]
    assert first.post(url, {**told[0], "confirmed": "yes", field: theirs}).status_code == 302
    answer = second.post(url, {**told[1], "confirmed": "yes", field: mine})
    assert TOLD in answer.content.decode()
    assert answer.context["form"][field].value() == mine
    again = second.post(url, {**told[1], "confirmed": "yes", field: mine})
    assert TOLD in again.content.decode()
    return answer


def test_the_second_edit_of_a_persona_is_refused(desk: Desk) -> None:
    row = make_persona(soul="password: one-secret")  # its mask does not change the answer
    race(desk, addresses.of_verb(row, "revise"), "soul", "Theirs.", "Mine.")
    row.refresh_from_db()
    assert (row.current, row.revisions.get(revision=2).soul) == (2, "Theirs.")


def test_the_second_edit_of_a_route_is_refused(desk: Desk) -> None:
    row = make_route()
    race(desk, addresses.of_verb(row, "change"), "model", "theirs", "mine")
    row.refresh_from_db()
    assert row.model == "theirs"


def test_the_system_prompt(desk: Desk) -> None:
    race(desk, new_url(RuntimeRevision, "system-prompt"), "custom_prompt", "Theirs.", "Mine.")
    assert runtime_settings.current().system_prompt.custom_prompt == "Theirs."


@pytest.mark.parametrize("member", ["capability_scope", "credential_scope"])
def test_a_scope_of_a_session(desk: Desk, member: str) -> None:
    row = make_session()
    theirs, mine = '{"mcp_server_deny": ["theirs"]}', '{"mcp_server_deny": ["mine"]}'
    race(desk, addresses.of_verb(row, member.replace("_", "-")), "scope", theirs, mine)
    row.refresh_from_db()
    assert getattr(row, member) == {"mcp_server_deny": ["theirs"]}


def test_an_observation_source(desk: Desk) -> None:
    row, _ = sources.create("desk", ObservationKind.values[0], SourceFields(), principal="alice")
    race(desk, addresses.of_verb(row, "change"), "retention_count", "5", "6")
    assert ObservationSource.objects.get().retention_count == 5


def test_a_form_that_does_not_say_its_revision_changes_nothing(desk: Desk) -> None:
    row = make_persona()
    answer = desk("admin").post(addresses.of_verb(row, "revise"), {"confirmed": "yes", "soul": "Mine."})
    assert "does not say which revision" in answer.content.decode()
    row.refresh_from_db()
    assert row.current == 1

"""A tool allowed for one session: given by admins, taken back by operators, never for what risks much."""

from typing import Any

import pytest

from sessions_app.models import JournalEntry, Session
from sessions_app.services import permissions
from sessions_app.tools import policy
from tests.factories import code_of, make_client
from tests.sessions_app.api.rows import make_session

pytestmark = pytest.mark.django_db

PATH = "/v1/sessions/desk/grants"


def decision(tool: str) -> str:
    rules = permissions.rules_for(Session.objects.get(session_id="desk"))
    return str(policy.decide(tool_name=tool, mode="default", rules=rules).decision)


def kinds() -> list[str]:
    return list(JournalEntry.objects.order_by("seq").values_list("kind", flat=True))


def test_an_admin_gives_it_and_an_operator_takes_it_back() -> None:
    make_session()
    assert decision("write_file") == "ask"
    admin = make_client("admin", "ada")
    given = admin.post(PATH, {"tool_name": "write_file", "reason": "a long migration"}).json()
    expected = {"tool_name": "write_file", "granted_by": "ada", "reason": "a long migration"}
    assert given["items"] == [expected]
    assert decision("write_file") == "allow"
    assert decision("edit_file") == "ask"
    assert admin.post(PATH, {"tool_name": "write_file"}).json() == given
    assert make_client("viewer").get(PATH).json() == given
    taken = make_client("operator").delete(f"{PATH}/write_file")
    assert (taken.status_code, taken.json()) == (200, {"items": []})
    assert decision("write_file") == "ask"
    assert kinds()[1:] == ["session.tool_granted", "session.grant_revoked"]


def test_who_may_not_is_refused() -> None:
    make_session()
    assert make_client("operator").post(PATH, {"tool_name": "write_file"}).status_code == 403
    assert make_client("viewer").delete(f"{PATH}/write_file").status_code == 403
    assert code_of(make_client("operator").delete(f"{PATH}/write_file")) == "grant_not_found"


def test_commands_and_what_a_rule_denies_stay_with_people() -> None:
    deny = {"tool_name_pattern": "apply_patch", "behavior": "deny"}
    make_session(permission_rules=[deny])
    admin = make_client("admin")
    assert code_of(admin.post(PATH, {"tool_name": "bash"})) == "grant_too_risky"
    assert code_of(admin.post(PATH, {"tool_name": "apply_patch"})) == "grant_denied_by_rule"


def test_it_stands_before_a_rule_that_asks_and_leaves_the_rules_alone() -> None:
    ask = {"tool_name_pattern": "write_file", "behavior": "ask", "reason": "to be looked at"}
    make_session(permission_rules=[ask])
    make_client("admin").post(PATH, {"tool_name": "write_file"})
    assert decision("write_file") == "allow"
    make_client("operator").delete(f"{PATH}/write_file")
    assert Session.objects.get(session_id="desk").permission_rules == [ask]


@pytest.mark.parametrize(
    "policy", [{"required_votes": 2}, {"requester_may_vote": False}, {"roles": ["operator"]}], ids=str
)
def test_one_person_does_not_end_what_needs_others(policy: dict[str, Any]) -> None:
    make_session(permission_rules=[{"tool_name_pattern": "write_*", "behavior": "ask", **policy}])
    assert code_of(make_client("admin").post(PATH, {"tool_name": "write_file"})) == "grant_needs_others"
    assert decision("write_file") == "ask"

"""What an operator may write about an external connector, and what is refused."""

from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from connectors_app.models import Connector
from connectors_app.services import connectors, ingress, registry
from connectors_app.services.contracts import ConnectorInvalid
from connectors_app.services.projections import connector_views
from sessions_app.models import AuditEntry
from sessions_app.services import audit, secrets
from tests.connectors_app.kinds.external.rows import SHARED, make_external
from tests.connectors_app.rows import make_connector
from tests.factories import make_client

pytestmark = pytest.mark.django_db
ADDRESS = "/v1/runtime/connectors/external/mail"
VALUE = "agent-4711@example.org"
CHILD: dict[str, Any] = {
    "mode": "child_process",
    "base_url": "http://127.0.0.1:8931",
    "child_process": {"command": "python3"},
}


def test_the_defaults_are_those_of_the_protocol() -> None:
    settings = make_external().settings
    assert settings["mode"] == "remote_http"
    assert settings["ingress_events_per_second"] == 100
    assert settings["include_self_output"]
    assert not settings["allow_private_network"]
    assert settings["child_process"] is None


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:8931", "http://localhost:8931", "http://[::1]:8931", "http://10.1.2.3/x",
        "http://192.168.1.4", "http://169.254.169.254/", "http://[fd00::1]", "http://100.64.0.1",
        "http://metadata.google.internal", "http://0.0.0.0",
    ],
)  # fmt: skip
def test_a_remote_sidecar_is_not_looked_for_at_home(base_url: str) -> None:
    with pytest.raises(ConnectorInvalid, match="not public"):
        make_external(base_url=base_url)
    make_external(base_url=base_url, allow_private_network=True)


@pytest.mark.parametrize(
    "base_url",
    [
        "ftp://a.example.org", "a.example.org", "http://", "http://user:pw@a.example.org", "http://a:99999",
        "https://a.example.org?x=1", "https://a.example.org#x", "https://a b.example.org",
    ],
)  # fmt: skip
def test_an_address_that_is_none(base_url: str) -> None:
    with pytest.raises(ConnectorInvalid, match="base_url"):
        make_external(base_url=base_url)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"child_process": None}, "needs the block"),
        ({"base_url": "https://sidecar.example.org:1"}, "loopback"),
        ({"base_url": "http://127.0.0.1"}, "with a port"),
        ({"base_url": "http://127.0.0.1:8931/x"}, "no path"),
        ({"base_url": "http://127.0.0.1:8931?x"}, "no path"),
        ({"base_url": "http://127.0.0.1:8931#x"}, "no path"),
        ({"child_process": {"command": " "}}, "command is empty"),
        (
            {"child_process": {"command": "x", "credential_slots": {"KEY": "nowhere"}}},
            "slot nowhere; make it",
        ),
        ({"mode": "remote_http", "allow_private_network": True}, "belongs to mode"),
    ],
)
def test_a_child_process_has_its_rules(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ConnectorInvalid, match=why):
        make_external(**{**CHILD, **settings})


def test_a_child_process_with_credentials() -> None:
    secrets.put("mail-password", value="swordfish-4711", provider="mail")
    child = {
        "command": "python3",
        "args": ["-u", "sidecar.py"],
        "env": {"EMAIL_FROM": "a@example.org"},
        "credential_slots": {"EMAIL_PASSWORD": "mail-password"},
        "working_dir": "/tmp",
    }
    made = make_external(**{**CHILD, "child_process": child})
    assert made.settings["child_process"] == child
    [view] = connector_views([made])
    told = {**child, "env_keys": ["EMAIL_FROM"]}
    del told["env"]
    assert view["settings"]["child_process"] == told, "the name of a slot is no secret"
    both = {**child, "env": {"EMAIL_PASSWORD": "x"}}
    with pytest.raises(ConnectorInvalid, match="either"):
        make_external(**{**CHILD, "child_process": both})


def test_nobody_is_shown_the_values_of_variables() -> None:
    """Not by the API, and not by the audit log, which says whose value is another one now."""
    child = {"command": "python3", "env": {"EMAIL_FROM": VALUE, "EMAIL_PORT": "993"}}
    make_external(**{**CHILD, "child_process": child})
    given = {"child_process": {**child, "env": {"EMAIL_FROM": f"{VALUE}-2", "EMAIL_PORT": "993"}}}
    make_client().put(ADDRESS, {"settings": given})
    connectors.set_paused("external", "mail", True, principal="alice")
    for role, path in (
        ("viewer", ADDRESS), ("viewer", "/v1/runtime/connectors"), ("admin", ADDRESS),
        ("admin", "/v1/audit-log"),
    ):  # fmt: skip
        answer = make_client(role).get(path)
        assert answer.status_code == 200 and VALUE not in answer.content.decode(), path
    changed = AuditEntry.objects.get(action="connector.updated", object_id="external/mail")
    assert [name for name in changed.after if "env" in name] == ["child_process.env.EMAIL_FROM"]
    connectors.delete("external", "mail")
    assert VALUE not in str([audit.view(row) for row in AuditEntry.objects.all()])


@pytest.mark.parametrize(
    ("written", "env"),
    [
        ({}, {"A": "1", "B": "2"}),
        ({"env_keys": ["A", "B"]}, {"A": "1", "B": "2"}),
        ({"env_keys": ["B"]}, {"B": "2"}),
        ({"env_keys": []}, {}),
        ({"env_keys": ["A", "B"], "env": {"B": "3", "C": "4"}}, {"A": "1", "B": "3", "C": "4"}),
        ({"env_keys": ["A", "C"], "env": {"C": "4"}}, {"A": "1", "C": "4"}),
        ({"env": {"C": "4"}}, {"C": "4"}),
        ({"env": {}}, {}),
    ],
)
def test_what_is_shown_of_variables_can_be_written_back(written: dict[str, Any], env: dict[str, str]) -> None:
    make_external(**{**CHILD, "child_process": {"command": "python3", "env": {"A": "1", "B": "2"}}})
    child = {"command": "python4", **written}
    connectors.put("external", "mail", {"child_process": child}, {}, principal="alice")
    stored = Connector.objects.get().settings["child_process"]
    assert (stored["command"], stored["env"]) == ("python4", env)
    assert "env_keys" not in stored


@pytest.mark.parametrize(
    ("child", "why"),
    [
        ({"env_keys": ["C"]}, "write it in env"),
        ({"env_keys": "A"}, "list of names"),
        ({"env_keys": [1]}, "list of names"),
    ],
)
def test_a_variable_that_shall_stay_has_a_value(child: dict[str, Any], why: str) -> None:
    with pytest.raises(ConnectorInvalid, match=why):
        make_external(**{**CHILD, "child_process": {"command": "python3", **child}})
    with pytest.raises(ValidationError):
        make_external(**{**CHILD, "child_process": {"command": "python3", "env_keys": [], "env": "A=1"}})


@pytest.mark.parametrize("block", ["env", "credential_slots"])
@pytest.mark.parametrize(
    "name",
    ["KHEISH_EXTERNAL_CONNECTOR_NAME", "kheish_external_connector_x", "A B", "1A", "", "PPID", "OPTIND"],
)
def test_reserved_and_impossible_variables(block: str, name: str) -> None:
    child = {"command": "python3", block: {name: "x"}}
    with pytest.raises(ValidationError):
        make_external(**{**CHILD, "child_process": child})


def test_somebody_must_be_able_to_prove_who_it_is() -> None:
    given = {"platform": "email", "base_url": "https://sidecar.example.org"}
    with pytest.raises(ConnectorInvalid, match="shared_token"):
        make_connector("mail", kind="external", secrets={}, **given)
    open_to_all = make_connector(
        "mail", kind="external", secrets={}, allow_unauthenticated_ingress=True, **given
    )
    assert open_to_all.secrets == {}
    with pytest.raises(ConnectorInvalid, match="platform"):
        make_external(platform=" ")


def test_what_is_not_said_keeps_its_value() -> None:
    make_external(include_self_output=False)
    connectors.put("external", "mail", {"platform": "post"}, {}, principal="alice")
    row = Connector.objects.get()
    assert (row.settings["platform"], row.settings["include_self_output"]) == ("post", False)
    assert set(row.secrets) == set(SHARED)


def test_the_test_event_is_one_that_a_sidecar_could_push() -> None:
    connector = make_external()
    event = registry.kind("external").test_event(connector)
    assert ingress.accept(connector, event).session_id.startswith("external:mail:")

"""The connectors file: applied whole, twice the same, owned by itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors_app.admin.connectors import DELETE
from connectors_app.models import Connector
from connectors_app.services import connectors, connectors_file
from connectors_app.services.connectors_file import ConnectorsFileInvalid
from sessions_app.models import AuditEntry
from tests.factories import code_of, make_client, make_secret

pytestmark = pytest.mark.django_db
GOOD = """
version = 1

[[http_connectors]]
name = "alerts"
fixed_session_id = "incident-1"
bearer_token_env = "ALERTS_TOKEN"

[http_connectors.session_policy]
create_if_missing = false

[[http_connectors]]
name = "orders"
bearer_token_secret_ref = "orders-token"
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALERTS_TOKEN", "alerts-token-value")
    make_secret("orders-token")
    path = tmp_path / "connectors.toml"
    path.write_text(GOOD)
    return path


def test_it_is_applied_and_applying_it_again_changes_nothing(file: Path) -> None:
    assert connectors_file.load(file).written == ["http/alerts", "http/orders"]
    assert connectors_file.load(file) == connectors_file.Applied(file=str(file))
    alerts = connectors.get("http", "alerts")
    assert alerts.source == "file"
    assert alerts.settings["session_policy"]["create_if_missing"] is False
    assert connectors.secret(alerts, "bearer_token") == "alerts-token-value"


def test_what_the_file_left_alone_is_not_touched(file: Path) -> None:
    inline = '\n[[http_connectors]]\nname = "inline"\nbearer_token = "inline-token-value"\n'
    file.write_text(GOOD + inline)
    connectors_file.load(file)
    before = dict(Connector.objects.values_list("name", "revision"))
    told = AuditEntry.objects.count()
    file.write_text("# a remark\n" + GOOD + inline)
    connectors_file.load(file)
    assert dict(Connector.objects.values_list("name", "revision")) == before
    assert AuditEntry.objects.count() == told
    file.write_text(GOOD + inline.replace("inline-token", "rotated-token"))
    connectors_file.load(file)
    assert connectors.get("http", "inline").revision == before["inline"] + 1
    assert connectors.get("http", "alerts").revision == before["alerts"]
    assert connectors.secret(connectors.get("http", "inline"), "bearer_token") == "rotated-token-value"


def test_a_removal_is_counted_and_answered(
    file: Path, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    connectors_file.load(file)
    settings.KHEISH = replace(settings.KHEISH, connectors_file=file)
    file.write_text(GOOD[: GOOD.rindex("[[")])
    with caplog.at_level("INFO", logger=connectors_file.logger.name):
        answer = make_client().post("/v1/runtime/connectors/reload", {}).json()
    assert answer == {"file": str(file), "written": [], "removed": ["http/orders"]}
    line = [record for record in caplog.records if record.message == "connectors file applied"][-1]
    assert (line.changed, line.removed) == (1, 1)  # type: ignore[attr-defined]


def test_a_switch_outlasts_a_load(file: Path) -> None:
    connectors_file.load(file)
    connectors.set_enabled("http", "alerts", False)
    connectors.set_paused("http", "orders", True, principal="ada")
    file.write_text(GOOD.replace("incident-1", "incident-2"))
    connectors_file.load(file)
    alerts, orders = connectors.get("http", "alerts"), connectors.get("http", "orders")
    assert not alerts.enabled and orders.paused_at is not None


def test_a_connector_made_again_works(file: Path) -> None:
    connectors_file.load(file)
    connectors.set_enabled("http", "alerts", False)
    connectors.set_paused("http", "orders", True, principal="ada")
    file.write_text("version = 1\n")
    connectors_file.load(file)
    file.write_text(GOOD)
    connectors_file.load(file)
    alerts, orders = connectors.get("http", "alerts"), connectors.get("http", "orders")
    assert alerts.enabled and orders.paused_at is None


def test_what_left_the_file_is_removed_and_what_it_no_longer_says_is_default_again(file: Path) -> None:
    connectors_file.load(file)
    file.write_text(GOOD.split("[[http_connectors]]")[0] + '[[http_connectors]]\nname="orders"\n'
                    'bearer_token_secret_ref="orders-token"\nactor_id="shop"\n')  # fmt: skip
    applied = connectors_file.load(file)
    assert (applied.written, applied.removed) == (["http/orders"], ["http/alerts"])
    file.write_text(GOOD)
    connectors_file.load(file)
    assert connectors.get("http", "orders").settings["actor_id"] == ""


def test_the_api_cannot_change_it_nor_the_file_what_the_api_made(file: Path, settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, connectors_file=file)
    connectors_file.load(file)
    admin = make_client()
    for answer in (
        admin.put("/v1/runtime/connectors/http/alerts", {"settings": {"actor_id": "x"}}),
        admin.delete("/v1/runtime/connectors/http/alerts"),
    ):
        assert (answer.status_code, code_of(answer)) == (409, "connector_from_file")
    connectors.put("http", "mine", {}, {"bearer_token": {"value": "a-token-of-mine"}}, principal="alice")
    file.write_text(GOOD.replace('name = "orders"', 'name = "mine"'))
    with pytest.raises(ConnectorsFileInvalid, match="http/mine"):
        connectors_file.load(file)
    assert connectors.get("http", "orders").source == "file"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (GOOD, 409),
        ("version = 1\n[[http_connectors", 409),  # which of them it names cannot be known
        ("version = 1\n", 204),
        (None, 204),
    ],
    ids=["named", "wrong", "not-named", "no-file"],
)
def test_what_no_file_names_any_more_can_be_removed(
    file: Path, settings: Any, text: str | None, status: int
) -> None:
    connectors_file.load(file)
    settings.KHEISH = replace(settings.KHEISH, connectors_file=file if text is not None else None)
    file.write_text(text or "")
    address, admin = "/v1/runtime/connectors/http/alerts", make_client()
    assert DELETE.applies(connectors.get("http", "alerts")) is (status == 204)
    assert admin.delete(address).status_code == status
    assert admin.get(address).status_code == (404 if status == 204 else 200)
    assert connectors.get("http", "orders").source == "file"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 2", "version must be 1"),
        ("version = 1\n[[pigeon_connectors]]\nname='a'", "unknown key pigeon_connectors"),
        ("version = 1\n[http_connectors]\nname='a'", r"write one \[\[http_connectors\]\]"),
        ("version = 1\n[[http_connectors]]\nactor_id='a'", "has no name"),
        ("version = 1\n[[http_connectors]]\nname='a'", "bearer_token"),
        ("version = 1\n[[http_connectors]]\nname='a'\nnonsense=1", "nonsense: unknown field"),
        ("version = 1\n[[http_connectors]]\nname='a'\nbearer_token='x'\nbearer_token_env='Y'", "give one of"),
        ("version = 1\n[[http_connectors", "Expected"),
    ],
)
def test_a_wrong_file_says_where_and_changes_nothing(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(ConnectorsFileInvalid, match=words):
        connectors_file.load(file)
    assert not Connector.objects.exists()

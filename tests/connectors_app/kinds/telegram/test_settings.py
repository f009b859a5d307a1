"""What an operator may write for a bot."""

from typing import Any

import pytest
from rest_framework.exceptions import ValidationError

from connectors_app.services import connectors, handles, ingress
from connectors_app.services.contracts import ConnectorInvalid
from kheish_site.lib.errors import KheishError
from tests.connectors_app.kinds.telegram.rows import make_bot
from tests.connectors_app.rows import make_connector
from tests.support.telegram_server import TOKEN

pytestmark = pytest.mark.django_db
BOTH = {"bot_token": {"value": TOKEN}, "secret_token": {"value": "s3cret-enough"}}


def test_defaults_are_those_of_the_reference() -> None:
    settings = make_bot(url="https://api.telegram.org/").settings
    assert settings["api_base_url"] == "https://api.telegram.org"
    assert settings["ingress_mode"] == "webhook"
    assert settings["polling_timeout_seconds"] == 30
    assert settings["ingress_events_per_second"] == 100
    assert settings["include_self_output"] is True
    assert settings["allow_unauthenticated_ingress"] is False


@pytest.mark.parametrize(
    ("secrets", "settings"),
    [
        ([], {"ingress_mode": "polling", "include_self_output": False}),
        (["secret_token"], {}),
        (["bot_token"], {}),
        ([], {"allow_unauthenticated_ingress": True}),
    ],
    ids=["polling without a bot", "answers without a bot", "webhook without a secret", "open, without a bot"],
)
def test_what_cannot_work_is_refused(secrets: list[str], settings: dict[str, Any]) -> None:
    with pytest.raises(ConnectorInvalid):
        make_connector("x", kind="telegram", secrets={name: BOTH[name] for name in secrets}, **settings)


@pytest.mark.parametrize(
    ("secrets", "settings"),
    [
        (["bot_token"], {"ingress_mode": "polling"}),
        (["bot_token"], {"allow_unauthenticated_ingress": True}),
        (["secret_token"], {"include_self_output": False}),
    ],
)
def test_what_can_work_is_taken(secrets: list[str], settings: dict[str, Any]) -> None:
    make_connector("x", kind="telegram", secrets={name: BOTH[name] for name in secrets}, **settings)


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host",
        "https://user:word@host",
        "https://host?x=1",
        "https://host#x",
        "https://",
        "http://api.telegram.org",
        "https://host:99999",
        "https://ho st",
        "https://h\u00f6st",
    ],
)
def test_an_address_of_the_api_that_is_none(address: str) -> None:
    with pytest.raises(ValidationError):
        make_bot(url=address)


def test_chats_are_numbers_however_they_are_written() -> None:
    bot = make_bot(allowed_chat_ids=[-1001234, "77"])
    assert bot.settings["allowed_chat_ids"] == ["-1001234", "77"]
    for wrong in ("@name", "0", "1.5", True, 1.5, None, "-"):
        with pytest.raises(ValidationError):
            make_bot(allowed_chat_ids=[wrong])


def test_an_address_has_one_normal_form() -> None:
    given = {
        "plugin": "telegram",
        "address": {"connector": "desk", "chat_id": "-77", "reply_to_message_id": "9"},
    }
    wanted = {"connector": "desk", "chat_id": -77, "reply_to_message_id": 9}
    assert handles.normal(given)["address"] == wanted
    tagged = {"type": "telegram", "connector": "desk", "chat_id": -77, "reply_to_message_id": 9}
    assert handles.normal(tagged | {"message_thread_id": None})["address"] == wanted


@pytest.mark.parametrize(
    "address",
    [
        "desk",
        {"connector": "desk"},
        {"connector": "", "chat_id": 1},
        {"connector": "desk", "chat_id": 0},
        {"connector": "desk", "chat_id": 1.5},
        {"connector": "desk", "chat_id": True},
        {"connector": "desk", "chat_id": 1, "message_thread_id": -4},
        {"connector": "desk", "chat_id": 1, "reply_to_message_id": "x"},
        {"connector": "desk", "chat_id": 1, "parse_mode": "HTML"},
    ],
)
def test_an_address_that_is_none(address: Any) -> None:
    with pytest.raises(handles.InvalidReplyTarget):
        handles.normal({"plugin": "telegram", "address": address})


def test_a_target_must_be_allowed_to_the_connector() -> None:
    make_bot("desk", allowed_chat_ids=[100])
    make_connector(
        "mute", kind="telegram", secrets={}, include_self_output=False, allow_unauthenticated_ingress=True
    )
    for name, chat in (("desk", 101), ("desk", "@news"), ("mute", 100), ("nobody", 100)):
        handle = handles.normal({"plugin": "telegram", "address": {"connector": name, "chat_id": chat}})
        with pytest.raises(KheishError):
            handles.check(handle)
    handles.check({"plugin": "telegram", "address": {"connector": "desk", "chat_id": 100}})


def test_a_test_event_takes_the_way_of_a_real_one() -> None:
    bot = make_bot(allowed_chat_ids=[100])
    accepted = ingress.accept(bot, connectors.kind_of("telegram").test_event(bot))
    assert accepted.session_id == "telegram:desk:100"
    assert accepted.run.reply_targets[0]["address"]["chat_id"] == 100
    nowhere = make_bot("other")
    event = connectors.kind_of("telegram").test_event(nowhere)
    assert event.reply_targets == ()
    assert event.metadata["test_event"] is True

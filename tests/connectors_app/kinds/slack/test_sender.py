"""Deliveries to Slack, against a local one that keeps its own record."""

import time
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.models.blocks import Block

from connectors_app.kinds.slack import mrkdwn
from connectors_app.kinds.slack.sender import SlackSender, pieces
from connectors_app.models import Connector
from connectors_app.services import connectors
from connectors_app.services.connectors import ConnectorMissing
from connectors_app.services.contracts import (
    Ambiguous,
    Attachment,
    Button,
    Parcel,
    Refused,
    RetryLater,
    Sender,
    Sent,
)
from connectors_app.services.handles import InvalidReplyTarget
from kheish_site.lib.canonical import sha256_hex
from tests.connectors_app.kinds.slack.world import SECRET, make_slack
from tests.factories import make_secret
from tests.support.slack_server import (
    DROP,
    DROP_AFTER,
    HANG_AFTER,
    NONSENSE,
    TOKEN,
    SlackServer,
    broken,
    limited,
)

pytestmark = pytest.mark.django_db(transaction=True)
POST = "chat.postMessage"
ADDRESS = {"connector": "ops", "channel_id": "C024BE91L", "thread_ts": "1355517523.000005"}
SENDER = SlackSender(timeout_seconds=5, looks=(0.0, 0.05))


class Desk:
    """What a delivery keeps between attempts."""

    def __init__(self, **parcel: Any) -> None:
        self.parcel = parcel
        self.progress: dict[str, Any] = {}
        self.attempts = 0
        self.kept: list[dict[str, Any]] = []

    def keep(self, progress: dict[str, Any]) -> None:
        self.progress = progress
        self.kept.append(progress)

    def send(self, sender: Sender = SENDER) -> Sent:
        self.attempts += 1
        given = {
            "delivery_id": "dlv_01",
            "attempt": self.attempts,
            "idempotency_key": "kheish:dlv_01",
            "address": ADDRESS,
            "session_id": "desk",
            "thread_id": "",
            "run_id": "run_1",
            "content": "hello",
            **self.parcel,
        }
        return sender.send(Parcel(**given, progress=self.progress, keep=self.keep))

    def long_ago(self) -> None:
        """Let everything that ever reached Slack be shown by now."""
        self.progress["begun"]["at"] -= 60


def asset(name: str = "report.txt", data: bytes = b"all is well") -> Attachment:
    return Attachment(
        asset_id=f"ast_{name}",
        media_type="text/plain",
        file_name=name,
        sha256=sha256_hex(data),
        size_bytes=len(data),
        read=lambda: data,
    )


def texts(slack: SlackServer) -> list[str]:
    return [message["text"] for message in slack.messages]


def test_a_message_arrives_as_slacks_own_client_reads_it(slack: SlackServer) -> None:
    make_slack(slack)
    sent = Desk(content="**done** & <ok>").send()
    page = WebClient(TOKEN, base_url=f"{slack.api}/").conversations_replies(
        channel="C024BE91L", ts=ADDRESS["thread_ts"], include_all_metadata=True
    )
    [message] = page["messages"]
    assert message["text"] == "*done* &amp; &lt;ok&gt;"
    assert message["metadata"] == {
        "event_type": "kheish_delivery",
        "event_payload": {"delivery_id": "dlv_01", "part": 0},
    }
    assert sent == Sent(
        reference=f"C024BE91L:{message['ts']}",
        detail={"channel_id": "C024BE91L", "messages": [message["ts"]], "files": []},
    )
    [call] = slack.called(POST)
    assert call["unfurl_links"] is call["unfurl_media"] is False


def test_every_part_has_one_client_message_id_for_good(slack: SlackServer) -> None:
    make_slack(slack)
    slack.faults[POST] = [limited(7)]
    desk = Desk(content="x" * 50_000)
    with pytest.raises(RetryLater) as waiting:
        desk.send()
    assert (waiting.value.error_class, waiting.value.retry_after_seconds) == ("rate_limited", 7)
    desk.send()
    first, again, second = [call["client_msg_id"] for call in slack.called(POST)]
    assert first == again != second


def test_a_long_text_goes_on_at_the_first_part_that_is_not_there(slack: SlackServer) -> None:
    make_slack(slack)
    text = "word " * 20_000
    desk = Desk(content=text)
    slack.faults[POST] = [None, limited(1)]
    with pytest.raises(RetryLater):
        desk.send()
    assert len(slack.messages) == 1 and len(desk.progress["sent"]) == 1
    desk.send()
    assert "".join(texts(slack)) == text
    assert all(len(part) <= mrkdwn.LONGEST_TEXT for part in texts(slack))
    assert len(slack.called(POST)) == len(slack.messages) + 1


@pytest.mark.parametrize(
    ("fault", "failure", "error_class"),
    [
        ("ratelimited", RetryLater, "rate_limited"),
        (broken(500), RetryLater, "status"),
        (broken(503), RetryLater, "status"),
        ("internal_error", RetryLater, "status"),
        ("service_unavailable", RetryLater, "status"),
        ("channel_not_found", Refused, "terminal"),
        ("not_in_channel", Refused, "terminal"),
        ("is_archived", Refused, "terminal"),
        ("account_inactive", Refused, "terminal"),
        ("msg_too_long", Refused, "terminal"),
        ("something_new", Refused, "terminal"),
        (broken(404), Refused, "status"),
        ((302, {}, {"Location": "/api/other"}), Refused, "status"),
    ],
)
def test_what_slack_says_no_with(slack: SlackServer, fault: Any, failure: type, error_class: str) -> None:
    make_slack(slack)
    slack.faults[POST] = [fault]
    with pytest.raises(failure) as raised:
        Desk().send()
    assert type(raised.value) is failure or issubclass(type(raised.value), failure)
    assert raised.value.error_class == error_class
    assert TOKEN not in raised.value.message
    assert slack.messages == []


def test_a_wrong_token_is_final(slack: SlackServer) -> None:
    make_slack(slack)
    slack.tokens.clear()
    with pytest.raises(Refused, match="invalid_auth"):
        Desk().send()


def test_after_a_failure_of_slacks_it_is_asked_before_it_is_told_again(slack: SlackServer) -> None:
    make_slack(slack)
    desk = Desk()
    slack.faults[POST] = [broken(500)]
    with pytest.raises(RetryLater):
        desk.send()
    assert desk.progress["begun"]["answered"] is True
    desk.send()
    assert texts(slack) == ["hello"]
    assert [name for name, _ in slack.calls] == [POST, "conversations.replies", POST]


def test_a_failure_that_was_none_sends_nothing_twice(slack: SlackServer) -> None:
    make_slack(slack)
    desk = Desk()
    slack.faults[POST] = [DROP_AFTER]
    slack.faults["conversations.replies"] = ["missing_scope"]
    with pytest.raises(Ambiguous, match="missing_scope"):
        desk.send()
    desk.send()
    assert texts(slack) == ["hello"]


@pytest.mark.parametrize("fault", [DROP_AFTER, HANG_AFTER, NONSENSE])
@pytest.mark.parametrize("thread", [True, False])
def test_a_lost_answer_is_found_in_the_conversation(slack: SlackServer, fault: str, thread: bool) -> None:
    make_slack(slack)
    slack.faults[POST] = [fault]
    address = ADDRESS if thread else {"connector": "ops", "channel_id": "C1"}
    desk = Desk(address=address)
    sent = desk.send(SlackSender(timeout_seconds=0.5, looks=(0.0, 0.1)))
    assert sent.detail["messages"] == [slack.messages[0]["ts"]]
    assert len(slack.messages) == len(slack.called(POST)) == 1
    method = "conversations.replies" if thread else "conversations.history"
    assert len(slack.called(method)) == 1
    assert desk.progress == {"sent": sent.detail["messages"], "begun": None}


def test_only_our_own_delivery_is_recognised(slack: SlackServer) -> None:
    make_slack(slack)
    Desk(delivery_id="dlv_00").send()
    slack.faults[POST] = [DROP_AFTER]
    sent = Desk(delivery_id="dlv_01").send()
    assert sent.detail["messages"] == [slack.messages[1]["ts"]]


def test_a_busy_conversation_is_read_to_its_end(slack: SlackServer) -> None:
    make_slack(slack)
    for number in range(450):
        slack._add("C1", None, text=str(number))
    slack.faults[POST] = [DROP_AFTER]
    Desk(address={"connector": "ops", "channel_id": "C1"}).send()
    assert len(slack.called("conversations.history")) == 3


@pytest.mark.parametrize(
    ("fault", "error_class"), [(DROP, "connect"), (HANG_AFTER, "timeout"), (NONSENSE, "decode")]
)
def test_a_lost_answer_that_nobody_can_explain_is_ambiguous(
    slack: SlackServer, fault: str, error_class: str
) -> None:
    make_slack(slack)
    slack.faults[POST] = [fault]
    slack.faults["conversations.replies"] = ["missing_scope", "missing_scope"]
    desk = Desk()
    with pytest.raises(Ambiguous) as lost:
        desk.send(SlackSender(timeout_seconds=0.5, looks=(0.0,)))
    assert lost.value.error_class == error_class
    assert desk.progress["begun"]["step"] == "0"
    assert len(slack.called(POST)) == 1
    with pytest.raises(Ambiguous):
        desk.send()
    assert len(slack.called(POST)) == 1


def test_a_message_that_is_not_to_be_seen_may_still_come(slack: SlackServer) -> None:
    make_slack(slack)
    slack.faults[POST] = [DROP]
    desk = Desk()
    with pytest.raises(Ambiguous, match="was not found"):
        desk.send()
    assert len(slack.called("conversations.replies")) == 2
    with pytest.raises(RetryLater) as early:  # somebody said: send it again
        desk.send()
    assert 20 < (early.value.retry_after_seconds or 0) <= 30
    assert len(slack.called(POST)) == 1
    desk.long_ago()
    desk.send()
    assert texts(slack) == ["hello"]


def test_a_dead_sender_leaves_enough_to_go_on(slack: SlackServer) -> None:
    make_slack(slack)
    desk = Desk(content="x" * 39_001)

    def die(progress: dict[str, Any]) -> None:
        desk.keep(progress)
        if progress.get("sent") and progress["begun"]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SENDER.send(
            Parcel(
                delivery_id="dlv_01",
                attempt=1,
                idempotency_key="k",
                address=ADDRESS,
                session_id="desk",
                thread_id="",
                run_id="",
                content="x" * 39_001,
                keep=die,
            )
        )
    assert desk.progress["begun"]["step"] == "1" and len(slack.messages) == 1
    desk.long_ago()
    desk.send()
    assert [len(text) for text in texts(slack)] == [39_000, 1]


def test_nobody_there_is_certainly_not_sent(slack: SlackServer) -> None:
    make_slack(slack, api_base_url="http://127.0.0.1:9/api")
    desk = Desk()
    with pytest.raises(RetryLater) as refused:
        desk.send()
    assert refused.value.error_class == "connect"
    assert desk.progress["begun"] is None


def test_the_own_network_needs_a_word(slack: SlackServer) -> None:
    connector = make_slack(slack)
    connector.settings["allow_private_network"] = False
    connector.save()
    with pytest.raises(Refused) as refused:
        Desk().send()
    assert refused.value.error_class == "blocked_external_fetch"


def test_questions_carry_their_buttons_in_the_last_message(slack: SlackServer) -> None:
    make_slack(slack)
    text = "line of a question\n" * 3000
    Desk(content=text, buttons=((Button(label="Allow", data="kh1:a", style="primary"),),)).send()
    assert "".join(texts(slack)) == text
    asking = [message for message in slack.messages if "blocks" in message]
    assert asking == slack.messages[-1:]
    for block in Block.parse_all(asking[0]["blocks"]):
        block.validate_json()
    assert asking[0]["blocks"][-1]["elements"][0]["value"] == "kh1:a"


def test_what_is_decided_on_is_shown_character_by_character(slack: SlackServer) -> None:
    make_slack(slack)
    text = "[harmless](https://evil.test) **x** `y` :smile: <!channel> & _z_\n" * 100
    shown = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    Desk(content=text, literal=True, buttons=((Button(label="*Allow*", data="kh1:a"),),)).send()
    Desk(content=text, literal=True).send()
    first, asking, alone = slack.messages
    assert first["text"] + asking["text"] == alone["text"] == shown
    assert [asked["mrkdwn"] for asked in slack.called(POST)] == [False] * 3
    section, actions = asking["blocks"]
    assert section["text"] == {"type": "plain_text", "text": asking["text"], "emoji": False}
    assert actions["elements"][0]["text"] == {"type": "plain_text", "text": "*Allow*", "emoji": False}


def test_parts_stand_in_for_an_absent_content() -> None:
    given: dict[str, Any] = {
        "delivery_id": "d", "attempt": 1, "idempotency_key": "k", "address": ADDRESS,
        "session_id": "s", "thread_id": "", "run_id": "",
    }  # fmt: skip
    found = pieces(Parcel(**given, content="", parts=({"text": "one"}, {"text": "two"}, {"odd": 1})))
    assert [piece.text for piece in found] == ["one\n\ntwo"]
    only = pieces(Parcel(**given, content="", buttons=((Button(label="Ok", data="d"),),)))
    assert [block["type"] for block in only[0].blocks] == ["actions"]


def test_nothing_to_send_is_refused(slack: SlackServer) -> None:
    make_slack(slack)
    with pytest.raises(Refused, match="nothing"):
        Desk(content=" ").send()


def test_files_follow_the_text_in_one_message(slack: SlackServer) -> None:
    make_slack(slack)
    sent = Desk(attachments=(asset(), asset("log.txt", b"line"))).send()
    assert [sorted(message) for message in slack.messages][1].count("files") == 1
    shared = slack.messages[1]
    assert [entry["title"] for entry in shared["files"]] == ["report.txt", "log.txt"]
    assert shared["thread_ts"] == ADDRESS["thread_ts"]
    assert list(slack.uploads.values()) == [b"all is well", b"line"]
    assert sorted(slack.uploads) == sent.detail["files"]


def test_files_that_are_there_are_not_brought_again(slack: SlackServer) -> None:
    make_slack(slack)
    desk = Desk(attachments=(asset(), asset("log.txt", b"line")))
    slack.faults["files.getUploadURLExternal"] = [None, DROP]
    with pytest.raises(RetryLater):
        desk.send()
    slack.faults["files.completeUploadExternal"] = [limited(3)]
    with pytest.raises(RetryLater):
        desk.send()
    desk.send()
    assert len(slack.uploads) == 2
    assert len(slack.called("files.getUploadURLExternal")) == 3
    assert [bool(message.get("files")) for message in slack.messages] == [False, True]


def test_a_lost_answer_to_sharing_is_found_by_the_file(slack: SlackServer) -> None:
    make_slack(slack)
    slack.faults["files.completeUploadExternal"] = [DROP_AFTER]
    Desk(attachments=(asset(),)).send()
    assert len(slack.called("files.completeUploadExternal")) == 1
    assert len(slack.messages) == 2


def test_uploads_that_slack_forgot_are_made_anew(slack: SlackServer) -> None:
    make_slack(slack)
    desk = Desk(attachments=(asset(),))
    slack.faults["files.completeUploadExternal"] = ["file_not_found"]
    with pytest.raises(RetryLater):
        desk.send()
    desk.send()
    assert len(slack.uploads) == 2 and len(slack.messages) == 2


def test_an_upload_address_elsewhere_is_refused(slack: SlackServer) -> None:
    make_slack(slack)
    elsewhere = {"ok": True, "upload_url": "https://files.evil.test/up", "file_id": "F1"}
    slack.faults["files.getUploadURLExternal"] = [(200, elsewhere, {})]
    with pytest.raises(Refused) as refused:
        Desk(content="", attachments=(asset(),)).send()
    assert refused.value.error_class == "blocked_external_fetch"


def test_a_team_speaks_with_its_own_token(slack: SlackServer) -> None:
    make_secret("team-one", "xoxb-team-canary-one")
    make_slack(slack, team_bot_tokens=[{"team_id": "T1", "bot_token_secret_ref": "team-one"}])
    slack.tokens = {"xoxb-team-canary-one"}
    Desk(address={**ADDRESS, "team_id": "T1"}).send()
    assert texts(slack) == ["hello"]
    with pytest.raises(Refused, match="invalid_auth"):
        Desk(address={**ADDRESS, "team_id": "T2"}).send()


def test_a_connector_that_is_gone_or_off_sends_nothing(slack: SlackServer) -> None:
    make_slack(slack)
    connectors.set_enabled("slack", "ops", False)
    with pytest.raises(Refused, match="disabled"):
        Desk().send()
    connectors.delete("slack", "ops")
    with pytest.raises(Refused, match="no slack connector"):
        Desk().send()
    assert slack.calls == []


def test_addresses_have_one_form() -> None:
    whole = {**ADDRESS, "team_id": "T1", "enterprise_id": "E1"}
    assert SENDER.normal(whole) == whole
    assert SENDER.normal({**ADDRESS, "team_id": "", "enterprise_id": None}) == ADDRESS
    assert not SENDER.honours_keys(ADDRESS)


@pytest.mark.parametrize(
    "address",
    [
        "C1",
        {"connector": "ops"},
        {"channel_id": "C1"},
        {**ADDRESS, "channel_id": "#general"},
        {**ADDRESS, "thread_ts": "yesterday"},
        {**ADDRESS, "thread_ts": 1355517523.5},
        {**ADDRESS, "icon": ":x:"},
    ],
)
def test_addresses_that_cannot_be_read(address: Any) -> None:
    with pytest.raises(InvalidReplyTarget):
        SENDER.normal(address)


def test_addresses_are_checked_against_the_connector() -> None:
    make_slack(allowed_channel_ids=["C024BE91L"], allowed_team_ids=["T1"])
    SENDER.check(ADDRESS)
    for wrong in ({"channel_id": "C2"}, {"team_id": "T2"}):
        with pytest.raises(InvalidReplyTarget):
            SENDER.check({**ADDRESS, **wrong})
    with pytest.raises(ConnectorMissing):
        SENDER.check({**ADDRESS, "connector": "other"})
    _mute()
    with pytest.raises(InvalidReplyTarget, match="no bot token"):
        SENDER.check({"connector": "mute", "channel_id": "C1"})


def _mute() -> Connector:
    return make_slack(name="mute", secrets={"signing_secret": {"value": SECRET}}, include_self_output=False)


def test_the_looks_stop_at_the_first_sight(slack: SlackServer) -> None:
    make_slack(slack)
    slack.faults[POST] = [DROP_AFTER]
    began = time.monotonic()
    Desk().send(SlackSender(looks=(0.0, 30.0)))
    assert time.monotonic() - began < 10

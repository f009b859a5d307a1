"""Files of a message, fetched while Slack waits."""

import base64
import time
from typing import Any

import pytest

from connectors_app.kinds.slack import files
from connectors_app.kinds.slack.files import FilesUnavailable
from connectors_app.kinds.slack.settings import Options, options
from sessions_app.models import Run
from tests.connectors_app.kinds.slack.world import bring, envelope, make_slack
from tests.factories import code_of
from tests.support.slack_server import TOKEN, SlackServer

pytestmark = pytest.mark.django_db(transaction=True)


def said_of(slack: SlackServer, **settings: Any) -> Options:
    return options(make_slack(slack, **settings))


def fetch(said: Options, *given: Any, token: str = TOKEN, is_last: bool = False) -> list[dict[str, Any]]:
    return files.fetch(said, given, token=token, is_last=is_last, budget_seconds=0.6)


def test_a_file_comes_inline_with_the_bots_token(slack: SlackServer) -> None:
    said = said_of(slack)
    [item] = fetch(said, slack.file("plan.md", b"# Plan", mimetype="text/markdown"))
    assert item == {
        "type": "inline_asset",
        "file_name": "plan.md",
        "media_type": "text/markdown",
        "content_base64": base64.b64encode(b"# Plan").decode(),
    }
    assert slack.calls == [("/files/plan.md", {"authorization": f"Bearer {TOKEN}"})]


@pytest.mark.parametrize(
    "url",
    [
        "http://files.slack.com/x",
        "https://evil.test/x",
        "https://slack.com.evil.test/x",
        "https://evilslack.com/x",
        "https://token@files.slack.com/x",
        "https://169.254.169.254/latest",
        "file:///etc/passwd",
        "https://[::1/x",
        "",
        None,
        7,
    ],
)
def test_no_other_host_sees_the_token(slack: SlackServer, url: Any) -> None:
    said = said_of(slack)
    [item] = fetch(said, {**slack.file("a.txt", b"a"), "url_private_download": url})
    assert item["type"] == "text" and "a.txt is missing" in item["text"]
    assert slack.calls == []


def test_a_host_that_was_allowed_is_asked_but_not_inside_the_own_network(slack: SlackServer) -> None:
    said = said_of(slack, allowed_file_hosts=["127.0.0.1"])
    file = {**slack.file("a.txt", b"a"), "url_private_download": "https://127.0.0.1:9/a.txt"}
    [item] = fetch(said, file)
    assert "may not be fetched" in item["text"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mimetype": "application/x-msdownload"}, "not supported"),
        ({"mimetype": None}, "not supported"),
        ({"size": 50_000_000}, "too large"),
        ({"mode": "tombstone"}, "does not hold"),
        ({"is_external": True}, "does not hold"),
    ],
)
def test_what_never_can_be_had_is_named(slack: SlackServer, change: dict[str, Any], reason: str) -> None:
    [item] = fetch(said_of(slack), {**slack.file("a.txt", b"a"), **change})
    assert reason in item["text"]


@pytest.mark.parametrize("status", [302, 403, 404])
def test_slacks_no_is_final(slack: SlackServer, status: int) -> None:
    slack.file("other", b"behind a redirect")
    [item] = fetch(said_of(slack), slack.file("a.txt", b"a", status=status))
    assert f"status {status}" in item["text"]
    assert len(slack.calls) == 1


def test_a_login_page_is_no_file(slack: SlackServer) -> None:
    said = said_of(slack)
    [item] = fetch(said, slack.file("a.txt", b"a"), token="xoxb-wrong-canary")
    assert "did not hand it out" in item["text"]
    [item] = fetch(said, slack.file("b.txt", b"b"), token="")
    assert "may not fetch" in item["text"]


def test_a_size_that_was_not_told_is_still_limited(
    slack: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "LARGEST_FILE_BYTES", 1000)
    said = said_of(slack)
    big, fits = slack.file("big.txt", b"x" * 1001), slack.file("fits.txt", b"x" * 1000)
    found = fetch(said, {**big, "size": None}, {**fits, "size": 1})
    assert "too large" in found[0]["text"]
    assert found[1]["type"] == "inline_asset"


def test_all_files_together_are_limited(slack: SlackServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_TOTAL_BYTES", 15)
    found = fetch(said_of(slack), slack.file("a.txt", b"x" * 10), slack.file("b.txt", b"x" * 10))
    assert [item["type"] for item in found] == ["inline_asset", "text"]
    many = [slack.file(f"{number}.txt", b"") for number in range(11)]
    assert "at most 10" in fetch(said_of(slack, name="more"), *many)[10]["text"]


def test_files_of_another_organisation_are_looked_up(slack: SlackServer) -> None:
    whole = slack.file("a.txt", b"a")
    slack.file_info["F77"] = whole
    [item] = fetch(said_of(slack), {"id": "F77", "file_access": "check_file_info"})
    assert (item["type"], item["file_name"]) == ("inline_asset", "a.txt")
    slack.faults["files.info"] = ["file_not_found"]
    [item] = fetch(said_of(slack, name="two"), {"id": "F77", "file_access": "check_file_info"})
    assert "did not hand it out" in item["text"]


def test_slow_files_end_with_the_time_of_all(slack: SlackServer) -> None:
    said, slack.slow = said_of(slack), 0.4
    given = [slack.file(f"{number}.txt", b"a") for number in range(3)]
    began = time.monotonic()
    with pytest.raises(FilesUnavailable):
        fetch(said, *given)
    assert time.monotonic() - began < 2
    found = fetch(said, *given, is_last=True)
    assert [item["type"] for item in found] == ["inline_asset", "text", "text"]


def test_slack_comes_again_for_a_file_that_is_late_and_loses_no_message(slack: SlackServer) -> None:
    make_slack(slack)
    slack.slow = 30
    said = envelope("see this", event={"subtype": "file_share", "files": [slack.file("a.txt", b"a")]})
    began = time.monotonic()
    late = bring(said)
    assert time.monotonic() - began < 3
    assert late.status_code == 503
    assert code_of(late) == "slack_files_unavailable"
    assert not Run.objects.exists()
    last = bring(said, **{"X-Slack-Retry-Num": "3"})
    assert last.status_code == 200
    [text, line] = Run.objects.get().input_items
    assert text["text"] == "see this"
    assert line["text"].startswith("[The file a.txt is missing:")
    calls = len(slack.calls)
    again = bring(said, **{"X-Slack-Retry-Num": "3"})
    assert again.json()["run_id"] == last.json()["run_id"]
    assert len(slack.calls) == calls


def test_a_failure_of_slacks_is_worth_another_try(slack: SlackServer) -> None:
    make_slack(slack)
    file = slack.file("a.txt", b"a", status=500)
    assert bring(envelope(event={"subtype": "file_share", "files": [file]})).status_code == 503


def test_a_message_that_is_only_a_file_is_accepted_without_it(slack: SlackServer) -> None:
    make_slack(slack, secrets={}, allow_unauthenticated_ingress=True, include_self_output=False)
    said = envelope("", event={"subtype": "file_share", "files": [slack.file("a.txt", b"a")]})
    assert bring(said, headers={}).status_code == 200
    [line] = Run.objects.get().input_items
    assert "the connector may not fetch files" in line["text"]
    assert slack.calls == []

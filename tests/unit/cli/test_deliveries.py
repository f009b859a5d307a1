"""What `deliveries` and `sessions reply-targets` send, and what they print."""

from typing import Any

import pytest

from tests.unit.cli.fake_service import Answer, page

ROW = {
    "delivery_id": "dlv_1", "session_id": "demo", "target": "http:address_sha256:00ff", "status": "unknown",
    "attempts": 2, "created_at": "2026-01-01T10:00:00Z", "last_error": {"message": "silence"},
}  # fmt: skip
TARGET = {"target": "http:address_sha256:00ff", "queued": 3, "consecutive_failures": 2, "paused": True}
REPLIES = {"session_id": "demo", "reply_targets": [], "pinned": False, "revision": 4}


def test_lists(service: Any, kheish: Any) -> None:
    service.on("GET", "/v1/deliveries", page(ROW))
    lines = kheish("deliveries", "list", "--unresolved", "--plugin", "http").out.splitlines()
    assert lines[0].split() == ["DELIVERY", "SESSION", "TARGET", "STATUS", "ATTEMPTS", "QUEUED", "ERROR"]
    assert lines[1].split()[0] == "dlv_1" and "silence" in lines[1]
    assert service.last("GET").query == {"unresolved": "true", "plugin": "http", "limit": "50"}
    service.on("GET", "/v1/delivery-targets", page(TARGET))
    assert kheish("deliveries", "targets", "--waiting", "-q").out == f"{TARGET['target']}\n"
    service.on("GET", "/v1/delivery-targets", page())
    assert kheish("deliveries", "targets").err == "Nothing was sent out yet.\n"
    assert kheish("deliveries", "targets", "--waiting").err == "Nothing waits for a target.\n"


def test_a_doubt_says_how_to_decide(service: Any, kheish: Any) -> None:
    service.on("GET", "/v1/deliveries/dlv_1", ROW)
    assert "deliveries decide dlv_1 happened|not_happened|give_up" in kheish("deliveries", "get", "dlv_1").err


@pytest.mark.parametrize(
    ("argv", "target", "body"),
    [
        (("replay", "dlv_1"), "deliveries/dlv_1/replay", {"force": False}),
        (("replay", "dlv_1", "--force"), "deliveries/dlv_1/replay", {"force": True}),
        (("resolve", "dlv_1", "--reason", "told"), "deliveries/dlv_1/resolve", {"reason": "told"}),
        (("decide", "dlv_1", "not-happened"), "deliveries/dlv_1/decide", {"outcome": "not_happened"}),
        (("pause", "00ff"), "delivery-targets/00ff/pause", {}),
        (("resume", "00ff"), "delivery-targets/00ff/resume", {}),
    ],
)
def test_verbs(service: Any, kheish: Any, argv: tuple[str, ...], target: str, body: Any) -> None:
    service.on("POST", f"/v1/{target}", {**ROW, **TARGET})
    assert kheish("deliveries", *argv).code == 0
    assert (service.last("POST").path, service.last("POST").body) == (f"/v1/{target}", body)


def test_bulk(service: Any, kheish: Any) -> None:
    item = {"delivery_id": "dlv_1", "action": "replayed", "replay_delivery_id": "dlv_2"}
    service.on("POST", "/v1/deliveries/replay-bulk", {"dry_run": False, "items": [item]})
    assert kheish("deliveries", "replay-bulk", "--plugin", "http", "--yes", "-q").out == "dlv_2\n"
    sent = service.last("POST").body
    assert sent == {"plugin": "http", "dry_run": False, "force": False, "unresolved_only": True}
    service.on("POST", "/v1/deliveries/replay-bulk", {"dry_run": True, "items": []})
    assert "no such dead letter" in kheish("deliveries", "replay-bulk", "--dry-run").err
    before = len(service.seen)
    refused = kheish("deliveries", "replay-bulk")
    assert (refused.code, len(service.seen)) == (2, before)
    assert "--everything" in refused.err
    assert kheish("deliveries", "replay-bulk", "--everything").code == 0


def test_reply_targets(service: Any, kheish: Any) -> None:
    address = "/v1/sessions/demo/reply-targets"
    service.on("GET", address, Answer(200, REPLIES, {"ETag": '"4"'}))
    service.on("POST", address, REPLIES)
    service.on("PUT", address, REPLIES)
    service.on("DELETE", address, REPLIES)
    assert kheish("sessions", "reply-targets", "show", "demo").code == 0
    kheish("sessions", "reply-targets", "add", "demo", "https://example.com/a", '{"type": "slack"}')
    handles = [{"type": "http", "url": "https://example.com/a"}, {"type": "slack"}]
    assert service.last("POST").body == {"reply_targets": handles}
    kheish("sessions", "reply-targets", "set", "demo", "https://example.com/a", "--pin")
    assert service.last("PUT").body == {"reply_targets": handles[:1], "pinned": True}
    assert service.last("PUT").headers["if-match"] == '"4"'
    assert kheish("sessions", "reply-targets", "clear", "demo", "-q").out == "demo\n"
    assert service.last("DELETE").headers["if-match"] == '"4"'


@pytest.mark.parametrize("text", ["foo", "ftp://a", "[1]", "3"])
def test_what_is_no_reply_target_is_said(service, kheish, text) -> None:
    result = kheish("sessions", "reply-targets", "add", "demo", text)
    assert (result.code, service.seen) == (2, [])
    assert "neither a URL nor a JSON object" in result.err and '{"type": "slack", …}' in result.err

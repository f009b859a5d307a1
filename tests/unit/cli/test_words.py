"""Journal entries in words."""

import pytest

from kheish_site.cli.words import KINDS, describe


def words(kind: str, **payload: object) -> str:
    return describe({"kind": kind, "payload": payload})[-1]


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("run.waiting", {"from": "running", "to": "waiting_for_user_question"}, "waits for user question"),
        ("run.failed", {"error": {"code": "c", "message": "m"}}, "failed: c: m"),
        ("run.cancelled", {"principal": "ana", "reason": "late"}, "cancelled by ana (late)"),
        ("message.created", {"role": "assistant", "content": "", "tool_calls": [{}]}, ""),
        ("message.created", {"role": "user", "content": "hi\nyou"}, "user: hi\nyou"),
        ("model.switched", {"from": "a", "to": "b"}, "model switched from a to b"),
        ("tool.planned", {"tool_name": "bash", "input": {"command": "ls"}}, 'plans bash {"command": "ls"}'),
        (
            "tool.returned",
            {"tool_name": "bash", "content": "x\x1b[2J\ny", "is_error": True},
            "bash returned an error: x y",
        ),
        ("approval.requested", {"approval_id": "apr_1", "tool_name": "bash"}, "approval apr_1: bash"),
        (
            "approval.denied",
            {"approval_id": "apr_1", "principal": "ana", "reason": "no"},
            "denied apr_1 by ana (no)",
        ),
        (
            "decision.made",
            {"decision_id": "d", "outcome": "happened", "note": "seen"},
            "decided d: happened (seen)",
        ),
        ("task.finished", {"task_id": "t", "status": "failed"}, "task t failed"),
        (
            "todo.written",
            {"todos": [{"content": "a", "completed": True}, {"content": "b"}]},
            "plan\n  x a\n  · b",
        ),
        ("persona.bound", {"persona": {"persona_id": "ops", "revision": 2}}, "persona ops revision 2"),
        ("persona.bound", {"persona": None}, "persona removed"),
        ("session.updated", {"principal": "ana", "route_policy": {}}, "session changed: route policy by ana"),
        (
            "session.updated",
            {"principal": "ana", "source_plugin": "slack", "connector": "slack/ops", "reply_targets": {}},
            "session changed: reply targets by ana",
        ),
        (
            "session.updated",
            {
                "principal": "system",
                "reply_targets": {},
                "reason": "the connector slack/ops was removed",
                "connector": "slack/ops",
            },
            "session changed: reply targets by system (the connector slack/ops was removed)",
        ),
    ],
)
def test_entries_read_well(kind, payload, expected) -> None:
    assert words(kind, **payload) == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("payload", [{}, None, [], "text", {"error": "plain", "todos": None, "persona": 3}])
def test_no_payload_is_too_strange(kind, payload) -> None:
    assert isinstance(describe({"kind": kind, "payload": payload})[-1], str)

"""Examples of answers and bodies, shown in the documentation and held to their schemas by a test."""

from typing import Any, Final

_AT: Final = "2026-11-21T10:07:26.123Z"
_RUN_ID: Final = "run_01JD7ZK4T9V2M8Q6W3X5Y7Z9AB"
_CALL_ID: Final = "call_01JD7ZK5D0C4R8T1N6B2H3J4K5"
_DIGEST: Final = "5f2b0c9c1c8f0b7d3c1a6f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a"
_ZEROS: Final = "0" * 64
_SESSION_ID: Final = "incident-4821"
_CALL: Final[dict[str, Any]] = {"session_id": _SESSION_ID, "run_id": _RUN_ID, "call_id": _CALL_ID}

SESSION: Final[dict[str, Any]] = {
    "session_id": _SESSION_ID,
    "status": "waiting_for_approval",
    "active_run_id": _RUN_ID,
    "route_policy": {},
    "permission_mode": None,
    "permission_rules": [],
    "unknown_effects": "ask",
    "capability_scope": {},
    "effective_capability_scope": {},
    "credential_scope": {},
    "effective_credential_scope": {},
    "reply_targets": [],
    "reply_targets_pinned": False,
    "queued_runs": 0,
    "pending_approvals": 1,
    "pending_questions": 0,
    "pending_decisions": 0,
    "next_seq": 12,
    "todos": [{"id": "1", "content": "Find the failing pod", "completed": True}],
    "workspace": "/var/lib/kheish/workspaces/incident-4821-0b1c2d3e4f5a",
    "revision": 1,
    "created_at": _AT,
    "updated_at": _AT,
}
REPLY_TARGETS: Final[dict[str, Any]] = {
    "session_id": _SESSION_ID,
    "reply_targets": [{"plugin": "http", "address": {"url": "https://example.com/hook"}}],
    "pinned": False,
    "revision": 2,
}
RUN: Final[dict[str, Any]] = {
    "run_id": _RUN_ID,
    "session_id": _SESSION_ID,
    "kind": "input",
    "status": "queued",
    "queued_position": 1,
    "step": 0,
    "max_steps": 500,
    "route_id": "main",
    "model": "small-1",
    "permission_mode": "default",
    "request": {
        "source_plugin": "daemon",
        "source_kind": "api",
        "actor_id": "api-user",
        "requested_by": "local",
        "text_preview": "Check why the deploy is stuck",
    },
    "input_items": [{"type": "text", "text": "Check why the deploy is stuck"}],
    "metadata": {"ticket": "4821"},
    "reply_targets": [{"plugin": "slack", "address": {"connector": "ops", "channel": "C042"}}],
    "pending_approval_ids": [],
    "pending_question_ids": [],
    "pending_decision_ids": [],
    "outputs": [],
    "usage": {"input_tokens": 0, "output_tokens": 0},
    "recovered_count": 0,
    "submitted_at": _AT,
    "updated_at": _AT,
}
ASSET: Final[dict[str, Any]] = {
    "asset_id": "asset_01JD7ZM1B2C3D4E5F6G7H8J9KA",
    "media_type": "text/csv",
    "file_name": "pods.csv",
    "sha256": _DIGEST,
    "size_bytes": 20,
    "uri": "/v1/assets/asset_01JD7ZM1B2C3D4E5F6G7H8J9KA/raw",
    "text_uri": "/v1/assets/asset_01JD7ZM1B2C3D4E5F6G7H8J9KA/text",
    "text_sha256": _DIGEST,
    "text_size_bytes": 20,
    "created_by": "local",
    "created_at": _AT,
}
NEW_ASSET: Final[dict[str, Any]] = {
    "file_name": "pods.csv",
    "media_type": "text/csv",
    "content_base64": "cG9kLHJlc3RhcnRzCmFwaSw3Cg==",
}
EVENT: Final[dict[str, Any]] = {
    "seq": 3,
    "kind": "run.started",
    "version": 1,
    "session_id": _SESSION_ID,
    "run_id": _RUN_ID,
    "at": _AT,
    "payload": {"from": "queued", "to": "running", "step": 0},
    "hash": _DIGEST,
    "prev_hash": _ZEROS,
}
EXTERNAL_ACTION: Final[dict[str, Any]] = {
    "action_id": _DIGEST,
    "version": 1,
    "bucket": _SESSION_ID,
    "seq": 1,
    "at": _AT,
    "session_id": _SESSION_ID,
    "run_id": _RUN_ID,
    "tool_call_id": _CALL_ID,
    "delivery_id": "",
    "principal_id": "alice",
    "grant_id": "approval:apr_01JD7ZK6A1B2C3D4E5F6G7H8J9/bob",
    "phase": "started",
    "kind": "tool",
    "target": "bash",
    "request_digest": _DIGEST,
    "response_digest": "",
    "outcome": "",
    "prev_hash": _ZEROS,
    "record_hash": _DIGEST,
    "signature_alg": "ed25519",
    "key_id": "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    "signature": "0a" * 64,
}
SEARCH: Final[dict[str, Any]] = {
    "query": "4821",
    "jump": None,
    "items": [
        {
            "kind": "run",
            "id": _RUN_ID,
            "by": "text",
            "excerpt": "Look into incident 4821: checkout is slow",
            "session_id": _SESSION_ID,
            "at": _AT,
        },
        {"kind": "session", "id": _SESSION_ID, "by": "text", "excerpt": _SESSION_ID, "at": _AT},
    ],
    "more": False,
    "text_window": 2000,
}
AUDIT_ENTRY: Final[dict[str, Any]] = {
    "entry_id": "aud_01JD7ZK6A1B2C3D4E5F6G7H8J9",
    "at": _AT,
    "principal": "local",
    "role": "admin",
    "auth_method": "token",
    "remote_addr": "127.0.0.1",
    "request_id": "req_01JD7ZK6B2C3D4E5F6G7H8J9K0",
    "action": "route.updated",
    "object_kind": "route",
    "object_id": "main",
    "before": {"model": "small-1", "revision": 1},
    "after": {"model": "small-2", "revision": 2},
    "reason": "",
}
APPROVAL: Final[dict[str, Any]] = {
    "approval_id": "apr_01JD7ZK6A1B2C3D4E5F6G7H8J9",
    **_CALL,
    "tool_name": "bash",
    "input": {"command": "kubectl rollout undo deploy/api"},
    "input_masked": False,
    "digest": _DIGEST,
    "edited": False,
    "reason": "runs a shell command",
    "status": "pending",
    "required_votes": 1,
    "roles": ["operator", "admin"],
    "requester_may_vote": True,
    "risk": "high",
    "votes": [],
    "created_at": _AT,
}
_WAITS: Final = (
    "waits for approval apr_01JD7ZK6A1B2C3D4E5F6G7H8J9 (bash: kubectl rollout undo deploy/api) for 2 h."
)
WHY: Final[dict[str, Any]] = {
    "run_id": "run_01JD7ZK4T9V2M8Q6W3X5Y7Z9AC",
    "state": "waiting",
    "code": "behind_run",
    "sentence": f"It is 1st in line behind {_RUN_ID} in session {_SESSION_ID} for 5 min. That run {_WAITS}",
    "since": _AT,
    "because": [
        {"kind": "run", "id": _RUN_ID, "sentence": f"It {_WAITS}", "since": _AT},
        {"kind": "approval", "id": APPROVAL["approval_id"], "sentence": f"W{_WAITS[1:]}", "since": _AT},
    ],
    "next": "Allow or deny it: approvals allow apr_01JD7ZK6A1B2C3D4E5F6G7H8J9",
}
EXACT_CALL: Final[dict[str, Any]] = {
    **_CALL,
    "tool_name": "bash",
    "state": "awaiting_approval",
    "digest": _DIGEST,
    "input": {"command": "kubectl rollout undo deploy/api"},
    "result": "",
}
RESOLUTIONS: Final[dict[str, Any]] = {
    "resolutions": [
        {"approval_id": "apr_01JD7ZK6A1B2C3D4E5F6G7H8J9", "behavior": "allow"},
        {"approval_id": "apr_01JD7ZK6B2C3D4E5F6G7H8J9K0", "behavior": "deny", "reason": "not in production"},
    ]
}
QUESTION: Final[dict[str, Any]] = {
    "question_id": "qst_01JD7ZK7A1B2C3D4E5F6G7H8J9",
    **_CALL,
    "status": "pending",
    "questions": [
        {
            "id": "question-1",
            "header": "Target",
            "question": "Which cluster?",
            "options": [
                {"id": "option-1", "label": "staging", "description": ""},
                {
                    "id": "option-2",
                    "label": "production",
                    "description": "needs a second approval",
                    "preview": "web: 12 machines\nregion: eu-west",
                },
            ],
            "multi_select": False,
        }
    ],
    "answers": [],
    "justification": "",
    "created_at": _AT,
}
DECISION: Final[dict[str, Any]] = {
    "decision_id": "dec_01JD7ZK8A1B2C3D4E5F6G7H8J9",
    **_CALL,
    "tool_name": "bash",
    "input": {"command": "make deploy"},
    "input_masked": False,
    "partial_output": "uploading…\n",
    "status": "pending",
    "note": "",
    "result": "",
    "created_at": _AT,
}
TASK: Final[dict[str, Any]] = {
    "task_id": "task_01JD7ZK9A1B2C3D4E5F6G7H8J9",
    **_CALL,
    "command": "make test",
    "description": "run the tests",
    "background": True,
    "status": "completed",
    "exit_code": 0,
    "metadata": {"terminal_reason": "exited", "recovered_on_boot": False, "stop_requested": False},
    "output_size_bytes": 120,
    "output_total_bytes": 120,
    "output_rotated": False,
    "started_at": _AT,
    "finished_at": _AT,
}


def page(item: dict[str, Any], *, order: str = "desc") -> dict[str, Any]:
    """Return a page that holds ``item``."""
    pagination = {"limit": 50, "total_count": 1, "has_more": False, "next_cursor": None, "order": order}
    return {"items": [item], "pagination": pagination}

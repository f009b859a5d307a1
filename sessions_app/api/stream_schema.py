"""The event streams in the OpenAPI document: plain asynchronous views, which no generator sees."""

from typing import Any, Final

TAG: Final = "streams"
_EXAMPLE: Final = (
    "retry: 1000\nid: 6\n\n"
    "id: 7\nevent: run.completed\n"
    'data: {"seq": 7, "kind": "run.completed", "session_id": "incident-4821", "payload": {}}\n\n'
    'event: run.ended\ndata: {"run_id": "run_01J9Z3", "status": "completed"}\n\n'
)
_TARGETS: Final = (
    ("/v1/sessions/{session_id}/stream", "sessions_stream", "Follow a session's journal", ("session_id",)),
    ("/v1/runs/{run_id}/stream", "runs_stream", "Follow a run's journal until it ends", ("run_id",)),
    ("/v1/events/stream", "events_stream", "Follow all sessions", ()),
)
_CURSOR: Final = "Entries after this one; `0` from the start. Of header and parameter the larger counts."


def add_streams(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing: describe the three server-sent event streams."""
    for path, name, summary, ids in _TARGETS:
        result["paths"][path] = {"get": _operation(name, summary, ids)}
    return result


def _operation(name: str, summary: str, ids: tuple[str, ...]) -> dict[str, Any]:
    parameters = [_parameter(one, "path", "", required=True) for one in ids]
    parameters += [_parameter("cursor", "query", _CURSOR), _parameter("Last-Event-ID", "header", _CURSOR)]
    if not ids:
        parameters += [_parameter(one, "query", "") for one in ("session_id", "run_id", "kinds")]
    content = {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}}
    return {
        "operationId": name,
        "summary": summary,
        "description": (
            "Server-sent events: `id` is the cursor, `event` the kind, `data` the entry as lists show it. "
            "`message.delta` events are a live extra without id. Reconnect with `Last-Event-ID`."
        ),
        "tags": [TAG],
        "security": [{"token": []}, {"login": []}],
        "parameters": parameters,
        "responses": {
            "200": {"description": "The stream.", "content": content},
            "204": {"description": "The run has ended and everything was seen."},
        },
    }


def _parameter(name: str, place: str, description: str, *, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": description,
        "schema": {"type": "string"},
    }

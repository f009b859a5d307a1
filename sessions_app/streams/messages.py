"""The JSON messages of the WebSocket. See ``consumers`` for their shapes."""

import json
from typing import Any, Final

from kheish_site.lib import strict_json
from kheish_site.lib.errors import BadRequest, KheishError
from kheish_site.lib.redaction import redact
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.events import InvalidCursor
from sessions_app.streams.follow import Ended, Heartbeat, Item
from sessions_app.streams.frames import delta_data
from sessions_app.streams.sources import DELTA_KIND, ENDED_KIND, RunSource, Source

_MEMBERS: Final = {
    "subscribe": {"op", "topic", "after", "id"},
    "unsubscribe": {"op", "topic", "id"},
    "ping": {"op", "id"},
}
_LONGEST_ID: Final = 100


class BadMessage(BadRequest):
    """The message is none that this socket understands."""

    code, domain = "invalid_message", "events"


def read(text: str | None, max_bytes: int) -> dict[str, Any]:
    """Return the client's message. Raises: BadMessage."""
    if text is None:
        raise BadMessage("messages are JSON texts, not binary frames")
    if len(text.encode("utf-8", "replace")) > max_bytes:
        raise BadMessage(f"a message has at most {max_bytes} bytes", code="message_too_large")
    try:
        message = strict_json.loads(text.encode("utf-8", "surrogatepass"))
    except strict_json.InvalidJson as error:
        raise BadMessage(error.detail) from None
    if not isinstance(message, dict) or not isinstance(message.get("op"), str):
        raise BadMessage("a message is an object with an op")
    if message["op"] not in _MEMBERS:
        raise BadMessage(f"op is one of {', '.join(_MEMBERS)}")
    if unknown := message.keys() - _MEMBERS[message["op"]]:
        raise BadMessage(f"{message['op']} knows no {', '.join(sorted(unknown))}")
    return message


def topic(message: dict[str, Any]) -> str:
    """Return the topic the message names. Raises: BadMessage."""
    name = message.get("topic")
    if name == "all" or (isinstance(name, str) and name.startswith(("session:", "run:"))):
        return str(name)
    raise BadMessage("topic is session:ID, run:ID or all")


def cursor(message: dict[str, Any]) -> str:
    """Return where to go on after, as the text a stream's cursor has; "" when not given."""
    after = message.get("after")
    if after is None:
        return ""
    if isinstance(after, bool) or not isinstance(after, int | str):
        raise InvalidCursor("after is a sequence number or a cursor")
    return str(after)


def echo(message: dict[str, Any]) -> dict[str, Any]:
    """Return the ``id`` of the message if it has a usable one, to go into its answer."""
    given = message.get("id")
    usable = isinstance(given, int) or (isinstance(given, str) and len(given) <= _LONGEST_ID)
    return {"id": given} if usable else {}


def error(failure: KheishError, message: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a message that could not be carried out."""
    named = {"topic": message["topic"]} if isinstance(message.get("topic"), str) else {}
    answer = {"op": "error", "code": failure.error_code, "detail": failure.detail}
    return dict(redact(answer | named | echo(message)))


def item(name: str, source: Source[Any], thing: Item) -> str:
    """Return the text of what happened in a topic; "" for a heartbeat, which the server's pings replace."""
    if isinstance(thing, Heartbeat):
        return ""
    if isinstance(thing, Delta):
        return _text(name, DELTA_KIND, delta_data(thing))
    if isinstance(thing, Ended):
        run_id = source.run_id if isinstance(source, RunSource) else ""
        return _text(name, ENDED_KIND, {"run_id": run_id, "status": thing.status})
    head = {
        "topic": name,
        "seq": thing.seq,
        "type": thing.kind,
        "at": thing.at,
        "cursor": str(source.at(thing)),
    }
    return f'{json.dumps(head, ensure_ascii=False)[:-1]}, "data": {thing.data.decode()}}}'


def _text(name: str, kind: str, data: dict[str, Any]) -> str:
    message = {"topic": name, "seq": None, "type": kind, "at": None, "cursor": None, "data": data}
    return json.dumps(message, ensure_ascii=False)

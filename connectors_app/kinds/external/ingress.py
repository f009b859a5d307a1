"""Events in: the answer to a sidecar for each of them, alone or in a batch.

A fault of the event itself is answered with 200 and ``rejected``: sending it again would not help. A refusal
that depends on the service (its policies, its pace, its health) is an error the sidecar may wait out.
"""

from collections.abc import Mapping
from typing import Any, Final

from connectors_app.kinds.external import events
from connectors_app.kinds.external.events import EventRejected
from connectors_app.kinds.external.instances import Speaker
from connectors_app.models import Connector
from connectors_app.services import ingress
from connectors_app.services.ingress import IngressConflict
from kheish_site.lib.errors import BadRequest, KheishError, RateLimited
from kheish_site.lib.redaction import redact
from sessions_app.api import problems
from sessions_app.services.assets import AssetMissing

MOST_EVENTS: Final = 64
_ITS_OWN_FAULT: Final = frozenset({400, 413, 415, 422})
_ALSO: Final = (IngressConflict, AssetMissing)
Result = dict[str, Any]


def take(connector: Connector, raw: Any, speaker: Speaker | None = None) -> Result:
    """Accept one event, or answer why not. Opens its own transactions. Events of a batch share ``speaker``.

    Raises: KheishError for what is not the event's own fault (409 policy, 429, 503).
    """
    try:
        event = events.read(connector, raw)
        (speaker or Speaker(connector)).check(_text(raw, "instance_id"))
        accepted = ingress.accept(connector, event)
    except KheishError as error:
        if error.status not in _ITS_OWN_FAULT and not isinstance(error, _ALSO):
            raise
        ingress.note_refusal(connector, error)
        return _rejected(raw, error)
    status = "duplicate" if accepted.duplicate else "accepted"
    return _named(raw) | {"status": status, "session_id": accepted.session_id, "run_id": accepted.run.run_id}


def take_batch(connector: Connector, raw: Any) -> list[Result]:
    """Accept a batch in order, each event on its own; one answer an event.

    Raises: BadRequest(external_batch_invalid) for a body that is no batch, or one of more than 64.
    """
    speaker = Speaker(connector)
    return [_take_safely(connector, event, speaker) for event in _batch(raw)]


def _batch(raw: Any) -> list[Any]:
    reason = ""
    if not isinstance(raw, Mapping) or not isinstance(raw.get("events"), list):
        reason = "a batch is an object with a list of events"
    elif unknown := sorted(set(raw) - {"protocol_version", "events"}):
        reason = f"a batch has no member {unknown[0]}"
    elif len(raw["events"]) > MOST_EVENTS:
        reason = f"a batch has at most {MOST_EVENTS} events"
    elif raw.get("protocol_version", events.DEFAULT_PROTOCOL) not in (1, 2):
        reason = "protocol_version is 1 or 2"
    if reason:
        raise BadRequest(reason, code="external_batch_invalid", domain=EventRejected.domain)
    version = raw.get("protocol_version")
    return [_with_version(event, version) for event in raw["events"]]


def _with_version(event: Any, version: int | None) -> Any:
    """Return ``event`` with the version of its batch, unless it names its own."""
    if version is None or not isinstance(event, Mapping):
        return event
    return {"protocol_version": version, **event}


def _take_safely(connector: Connector, raw: Any, speaker: Speaker) -> Result:
    """Answer one event of a batch whatever happens, so that the others are answered too."""
    try:
        return take(connector, raw, speaker)
    except RateLimited as error:
        return _named(raw) | {
            "status": "rate_limited",
            "retry_after_ms": error.extra.get("retry_after_ms", 1000),
            "reason": error.detail,
        }
    except Exception as error:  # noqa: BLE001  # the edge of one event: translated, and logged when unexpected
        known = problems.translate(error)
        ingress.note_refusal(connector, known)
        return _named(raw) | {"status": "error", "reason": redact(known.detail), "code": known.error_code}


def _rejected(raw: Any, error: KheishError) -> Result:
    """Return the answer to a rejected event, with the ids of the earlier one that it contradicts, if any."""
    ids: Result = {name: error.extra[name] for name in ("session_id", "run_id") if name in error.extra}
    answer = {"status": "rejected", "reason": redact(error.detail), "code": error.error_code}
    return {**_named(raw), **answer, **ids}


def _named(raw: Any) -> Result:
    event_id = _text(raw, "event_id")
    return {"event_id": event_id[:500]} if event_id else {}


def _text(raw: Any, member: str) -> str:
    value = raw.get(member) if isinstance(raw, Mapping) else None
    return value if isinstance(value, str) else ""

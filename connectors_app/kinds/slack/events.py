"""Slack's event envelopes: which of them are messages, where they come from, and their neutral form."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import unescape
from typing import Any, Final

from connectors_app.kinds.slack.settings import SLACK_ID, Options
from connectors_app.services.contracts import InboundEvent
from connectors_app.services.resolution import DOMAIN
from kheish_site.lib.canonical import digest
from kheish_site.lib.errors import BadRequest, Forbidden

PLUGIN: Final = "slack"
TIMESTAMP: Final = re.compile(r"\d{1,12}\.\d{1,9}", re.ASCII)
_SUBTYPES: Final = ("", "file_share")
_LONGEST_KEY: Final = 300


class InvalidEvent(BadRequest):
    """The envelope cannot be read, or lacks what a message must have."""

    code, domain = "slack_event_invalid", DOMAIN


class NotAllowed(Forbidden):
    """The event comes from a place that the connector does not allow."""

    code, domain = "slack_not_allowed", DOMAIN


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something happened: organisation, workspace, conversation, thread."""

    enterprise_id: str
    team_id: str
    channel_id: str
    root_ts: str

    @property
    def scope(self) -> str:
        """The organisation and workspace as ids and keys contain them: each part ends with a colon."""
        enterprise = f"enterprise:{self.enterprise_id}:" if self.enterprise_id else ""
        return enterprise + (f"team:{self.team_id}:" if self.team_id else "")

    def address(self, connector: str) -> dict[str, str]:
        """Return the reply address of this thread, in normal form."""
        found = {
            "connector": connector,
            "channel_id": self.channel_id,
            "thread_ts": self.root_ts,
            "enterprise_id": self.enterprise_id,
            "team_id": self.team_id,
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message somebody wrote. ``files`` are Slack's file objects, ``home_id`` the author's own team."""

    place: Place
    key: str
    fingerprint: str
    user_id: str
    home_id: str
    text: str
    files: tuple[Mapping[str, Any], ...]
    envelope: Mapping[str, Any]


def ignored(envelope: Mapping[str, Any]) -> str:
    """Return why the envelope is ignored, "" when it is a person's message."""
    if envelope.get("type") != "event_callback" or not isinstance(envelope.get("event"), Mapping):
        return "unsupported_envelope"
    event = envelope["event"]
    if event.get("type") != "message":
        return "unsupported_event"
    if event.get("bot_id") or (event.get("subtype") or "") not in _SUBTYPES or _is_ourselves(envelope):
        return "unsupported_message_subtype"
    return ""


def _is_ourselves(envelope: Mapping[str, Any]) -> bool:
    bots = [entry.get("user_id") for entry in authorizations(envelope) if entry.get("is_bot")]
    return bool(envelope["event"].get("user")) and envelope["event"]["user"] in bots


def authorizations(envelope: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the installations the event was sent for; a malformed one is empty, which no list allows."""
    found = envelope.get("authorizations") or []
    entries = found if isinstance(found, list) else [found]
    return [entry if isinstance(entry, Mapping) else {} for entry in entries]


def check_allowed(config: Options, envelope: Mapping[str, Any], *, channel_id: str | None) -> None:
    """Refuse an envelope or click from a place that is not allowed; ``channel_id`` None is not checked.

    A list that is not empty refuses a missing value too. Raises: NotAllowed.
    """
    _check("app", config.allowed_api_app_ids, envelope.get("api_app_id"))
    _check("enterprise", config.allowed_enterprise_ids, _enterprise(envelope))
    _check("team", config.allowed_team_ids, _team(envelope))
    for entry in authorizations(envelope):
        _check("enterprise", config.allowed_enterprise_ids, entry.get("enterprise_id"))
        if entry.get("team_id") or not entry.get("is_enterprise_install"):
            _check("team", config.allowed_team_ids, entry.get("team_id"))
    if channel_id is not None:
        _check("channel", config.allowed_channel_ids, channel_id)


def _check(what: str, allowed: frozenset[str], value: Any) -> None:
    if allowed and (not isinstance(value, str) or value not in allowed):
        raise NotAllowed(f"the {what} of the event is not one that the connector allows")


def _enterprise(envelope: Mapping[str, Any]) -> Any:
    return envelope.get("enterprise_id") or _of_first(envelope, "enterprise_id")


def _team(envelope: Mapping[str, Any]) -> Any:
    return envelope.get("team_id") or _of_first(envelope, "team_id")


def _of_first(envelope: Mapping[str, Any], member: str) -> Any:
    found = authorizations(envelope)
    return found[0].get(member) if found else None


def channel_of(envelope: Mapping[str, Any]) -> str:
    """Return the conversation of a message's envelope, "" when it has none."""
    found = envelope["event"].get("channel")
    return found if isinstance(found, str) else ""


def read(connector: str, envelope: Mapping[str, Any]) -> Message:
    """Read a message. Raises: InvalidEvent."""
    event = envelope["event"]
    channel, moment = event.get("channel"), event.get("ts")
    if not channel or not moment:
        raise InvalidEvent("a message has a channel and a ts")
    place = Place(
        enterprise_id=_id("enterprise_id", _enterprise(envelope)),
        team_id=_id("team_id", _team(envelope)),
        channel_id=_id("channel", channel),
        root_ts=_moment("thread_ts", event.get("thread_ts") or moment),
    )
    own = envelope.get("event_id")
    named = _id("event_id", own) if own else f"{place.channel_id}:{_moment('ts', moment)}"
    key = f"slack:{connector}:{place.scope}{named}"
    if len(key) > _LONGEST_KEY:
        raise InvalidEvent("the ids of the event are too long")
    return Message(
        place=place,
        key=key,
        fingerprint=digest(envelope),
        user_id=_text("user", event.get("user")) or "slack-user",
        home_id=_text("user_team", event.get("user_team")) or place.team_id,
        text=unescape(_text("text", event.get("text"))),
        files=_files(event.get("files")),
        envelope=envelope,
    )


def _id(member: str, value: Any) -> str:
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not SLACK_ID.fullmatch(value):
        raise InvalidEvent(f"{member} is not an id as Slack writes it")
    return value


def _moment(member: str, value: Any) -> str:
    if not isinstance(value, str) or not TIMESTAMP.fullmatch(value):
        raise InvalidEvent(f"{member} is not a timestamp as Slack writes it")
    return value


def _text(member: str, value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise InvalidEvent(f"{member} is not a text")
    return value or ""


def _files(value: Any) -> tuple[Mapping[str, Any], ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        raise InvalidEvent("files is not a list of files")
    return tuple(value)


def inbound(
    config: Options,
    message: Message,
    items: Sequence[Mapping[str, Any]] = (),
    *,
    actor_id: str = "",
    answered: bool = True,
) -> InboundEvent:
    """Return the neutral event. ``items``, those of its files, follow the text.

    ``actor_id`` is the author's mapped id, "" for Slack's own; ``answered`` false leaves the reply targets to
    the session's defaults.
    """
    place = message.place
    natural = f"slack:{config.connector}:{place.scope}{place.channel_id}:{place.root_ts}"
    itself = ({"plugin": PLUGIN, "address": place.address(config.connector)},)
    targets = (*(itself if config.include_self_output else ()), *config.additional_reply_targets)
    text = ({"type": "text", "text": message.text},) if message.text.strip() else ()
    return InboundEvent(
        key=message.key,
        fingerprint=message.fingerprint,
        actor_id=actor_id or message.user_id,
        source_kind="message",
        content="" if items else message.text,
        input_items=(*text, *(dict(item) for item in items)) if items else (),
        metadata={
            "slack_envelope": {name: value for name, value in message.envelope.items() if name != "token"},
            "slack_ingress_fingerprint": message.fingerprint,
        },
        binding_keys=(natural, *config.additional_binding_keys),
        natural_session_id=natural,
        reply_targets=targets if answered else (),
        rate_scope=f"{place.enterprise_id}:{place.team_id}:{place.channel_id}",
    )

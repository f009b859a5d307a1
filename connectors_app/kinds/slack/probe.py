"""Asking Slack whether a message of ours arrived, when the answer to its sending was lost.

Slack recognises no repeat by itself, so every message carries its delivery's id in its metadata, and the
conversation is read for it before anything is sent again.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from connectors_app.kinds.slack.web import SlackApi
from connectors_app.services.contracts import Address, SendFailure

EVENT_TYPE: Final = "kheish_delivery"
SKEW_SECONDS: Final = 300
"""How far our clock and Slack's may differ."""

_PAGE: Final = 200
_MOST_PAGES: Final = 5
Matches = Callable[[Mapping[str, Any]], bool]


class Inconclusive(Exception):
    """The conversation could not be read, or not far enough; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """The conversation or thread of an address, for reading."""

    api: SlackApi
    address: Address

    def find(self, matches: Matches, *, since: float) -> str | None:
        """Return the timestamp of the message that matches, None when there is certainly none now.

        ``since`` (Unix seconds) is when it was sent. Raises: Inconclusive.
        """
        thread_ts = self.address.get("thread_ts")
        arguments = {
            "channel": self.address["channel_id"],
            "oldest": f"{max(0.0, since - SKEW_SECONDS):.6f}",
            "limit": str(_PAGE),
            "include_all_metadata": "true",
        }
        method = "conversations.history"
        if thread_ts:
            method, arguments["ts"] = "conversations.replies", thread_ts
        for _ in range(_MOST_PAGES):
            try:
                page = self.api.read(method, arguments)
            except SendFailure as failure:
                raise Inconclusive(failure.message) from failure
            found = _of_page(page, matches)
            if found is not None:
                return found
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                if page.get("has_more"):
                    raise Inconclusive("Slack did not show the whole conversation")
                return None
            arguments["cursor"] = str(cursor)
        raise Inconclusive("the conversation has gone on too far")

    def find_soon(self, matches: Matches, *, since: float, pauses: tuple[float, ...]) -> str | None:
        """Look a few times, as the message may still be on its way; see ``find``."""
        for pause in pauses:
            time.sleep(pause)
            found = self.find(matches, since=since)
            if found is not None:
                return found
        return None


def of_delivery(delivery_id: str, part: int, client_msg_id: str) -> Matches:
    """Return a function that recognises one part of a delivery."""

    def matches(message: Mapping[str, Any]) -> bool:
        metadata = message.get("metadata")
        payload = metadata.get("event_payload") if isinstance(metadata, Mapping) else None
        if not isinstance(payload, Mapping):
            return message.get("client_msg_id") == client_msg_id
        return payload.get("delivery_id") == delivery_id and payload.get("part") == part

    return matches


def of_files(file_ids: frozenset[str]) -> Matches:
    """Return a function that recognises the message that shares any of these files."""

    def matches(message: Mapping[str, Any]) -> bool:
        files = message.get("files")
        found = {entry.get("id") for entry in files if isinstance(entry, Mapping)} if files else set()
        return bool(file_ids & found)

    return matches


def _of_page(page: Mapping[str, Any], matches: Matches) -> str | None:
    messages = page.get("messages")
    if not isinstance(messages, list):
        raise Inconclusive("Slack showed no messages")
    for message in messages:
        if isinstance(message, Mapping) and matches(message) and isinstance(message.get("ts"), str):
            return str(message["ts"])
    return None

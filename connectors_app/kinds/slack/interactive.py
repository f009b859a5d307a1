"""Buttons pressed in Slack: the decision first, its display in Slack afterwards.

Slack wants an answer within three seconds, so the click is decided and answered first; the message is
changed afterwards (``answers``). The decision does not depend on it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from connectors_app.kinds.slack import blocks, events, mrkdwn
from connectors_app.kinds.slack.answers import Reply
from connectors_app.kinds.slack.people import known_as
from connectors_app.kinds.slack.settings import Options
from connectors_app.models import Connector
from connectors_app.services import chat_actions
from connectors_app.services.resolution import DOMAIN
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.strict_json import loads

_NOT_AUTHORISED: Final = "You are not authorised to decide this here."


class InvalidInteraction(BadRequest):
    """The form or its payload cannot be read."""

    code, domain = "slack_interaction_invalid", DOMAIN


@dataclass(frozen=True, kw_only=True)
class Click:
    """One press of one of our buttons."""

    team_id: str
    user_id: str
    data: str
    text: str
    blocks: Any
    response_url: str


def payload_of(raw: bytes) -> dict[str, Any]:
    """Return the object in the form's ``payload``. Raises: InvalidInteraction, InvalidJson."""
    try:
        fields = parse_qs(raw.decode("utf-8"), keep_blank_values=True, max_num_fields=20)
    except ValueError as error:
        raise InvalidInteraction("the body is not a form") from error
    found = fields.get("payload", [])
    if len(found) != 1:
        raise InvalidInteraction("the form has one field payload")
    value = loads(found[0].encode())
    if not isinstance(value, dict):
        raise InvalidInteraction("the payload is an object")
    return value


def click_of(config: Options, payload: Mapping[str, Any]) -> Click | None:
    """Return the press of one of our buttons, None for anything else.

    Raises: NotAllowed, InvalidInteraction.
    """
    if payload.get("type") != "block_actions":
        return None
    user, message = _member(payload, "user"), _member(payload, "message")
    team_id = str(_member(payload, "team").get("id") or user.get("team_id") or "")
    enterprise_id = _member(payload, "enterprise").get("id")
    container = _member(payload, "container")
    channel_id = _member(payload, "channel").get("id") or container.get("channel_id")
    where = {
        "api_app_id": payload.get("api_app_id"),
        "enterprise_id": enterprise_id,
        "team_id": team_id,
    }
    events.check_allowed(config, where, channel_id=str(channel_id or ""))
    data = _pressed(payload.get("actions"))
    if not data:
        return None
    user_id = user.get("id")
    if not isinstance(user_id, str) or not user_id:
        raise InvalidInteraction("the click names no user")
    return Click(
        team_id=str(user.get("team_id") or team_id),
        user_id=user_id,
        data=data,
        text=str(message.get("text") or ""),
        blocks=message.get("blocks"),
        response_url=str(payload.get("response_url") or ""),
    )


def _member(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _pressed(actions: Any) -> str:
    for action in actions if isinstance(actions, list) else ():
        if isinstance(action, Mapping) and str(action.get("action_id", "")).startswith(blocks.ACTION_PREFIX):
            value = action.get("value")
            return value if isinstance(value, str) else ""
    return ""


def perform(connector: Connector, click: Click, remote_addr: str) -> Reply:
    """Decide as the click says, and return the reply to show. Opens the decision's transactions."""
    who = known_as(connector, click.team_id, click.user_id)
    if not who:
        return _whisper(click, _NOT_AUTHORISED)
    outcome = chat_actions.perform(connector, who, click.data, remote_addr)
    if not outcome.settled:
        return _whisper(click, outcome.text)
    announcement = outcome.announcement or outcome.text
    shown = {
        "replace_original": True,
        "text": f"{_shortened(click.text)}\n\n{mrkdwn.escaped(announcement)}",
        "blocks": blocks.answered(click.blocks, announcement),
    }
    return Reply(url=click.response_url, body=shown)


def _whisper(click: Click, text: str) -> Reply:
    body = {"response_type": "ephemeral", "replace_original": False, "text": mrkdwn.escaped(text)}
    return Reply(url=click.response_url, body=body)


def _shortened(text: str) -> str:
    found = mrkdwn.split(text, blocks.LONGEST_SECTION)
    return found[0] if found else ""

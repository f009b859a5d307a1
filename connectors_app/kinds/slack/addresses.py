"""The address of a Slack reply target: connector, conversation, thread; checked and in one form."""

import re
from collections.abc import Mapping
from typing import Any, Final

from connectors_app.kinds.slack import tokens
from connectors_app.kinds.slack.events import TIMESTAMP
from connectors_app.kinds.slack.settings import SLACK_ID, options
from connectors_app.models import Connector
from connectors_app.services import connectors
from connectors_app.services.contracts import Address
from connectors_app.services.handles import InvalidReplyTarget

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}", re.ASCII)
_SHAPES: Final = {
    "connector": _NAME,
    "channel_id": SLACK_ID,
    "thread_ts": TIMESTAMP,
    "enterprise_id": SLACK_ID,
    "team_id": SLACK_ID,
}
_NEEDED: Final = ("connector", "channel_id")


def normal(given: Any) -> Address:
    """Return the address without its empty members. Raises: InvalidReplyTarget. Needs no database."""
    if not isinstance(given, Mapping):
        raise InvalidReplyTarget("the address of slack is an object")
    unknown = sorted(str(name) for name in given if name not in _SHAPES)
    if unknown:
        raise InvalidReplyTarget(f"the address of slack has no member {unknown[0]}")
    found = {name: given[name] for name in _SHAPES if given.get(name) not in (None, "")}
    for name in _NEEDED:
        if name not in found:
            raise InvalidReplyTarget(f"the address of slack needs {name}")
    for name, value in found.items():
        if not isinstance(value, str) or not _SHAPES[name].fullmatch(value):
            raise InvalidReplyTarget(f"{name} of the slack address is not as Slack writes it")
    return found


def usable(address: Address) -> Connector:
    """Return the connector of an address that can work now. Raises: InvalidReplyTarget, ConnectorMissing."""
    connector = connectors.get("slack", address["connector"])
    limits = options(connector)
    team_id = address.get("team_id", "")
    if not tokens.has_token(connector, team_id):
        raise InvalidReplyTarget(f"{connector} has no bot token to send with")
    allowed = (
        ("channel_id", limits.allowed_channel_ids),
        ("team_id", limits.allowed_team_ids),
        ("enterprise_id", limits.allowed_enterprise_ids),
    )
    for member, names in allowed:
        if names and address.get(member) and address[member] not in names:
            raise InvalidReplyTarget(f"{connector} does not allow this {member}")
    return connector

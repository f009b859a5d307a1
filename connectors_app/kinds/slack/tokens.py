"""Which bot token is used for which team."""

from connectors_app.kinds.slack.settings import options
from connectors_app.models import Connector
from connectors_app.services import connectors
from kheish_site.lib.crypto import Unreadable
from kheish_site.lib.errors import KheishError, Unavailable
from sessions_app.services import secrets


def bot_token(connector: Connector, team_id: str = "") -> str:
    """Return the team's own token, else the connector's, for use at once; "" when there is none.

    Needs the database. Raises: Unavailable(connector_secret_unreadable).
    """
    slot = options(connector).team_slots.get(team_id)
    if slot is None:
        return connectors.secret(connector, "bot_token")
    try:
        return secrets.reveal(slot)
    except (KheishError, Unreadable) as error:
        raise Unavailable(
            f"the bot token of team {team_id} of {connector} cannot be read",
            code="connector_secret_unreadable",
            domain="connectors",
        ) from error


def has_token(connector: Connector, team_id: str = "") -> bool:
    """Tell whether a token for the team is configured."""
    return team_id in options(connector).team_slots or connectors.holds(connector, "bot_token")

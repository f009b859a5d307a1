"""The external id a person of Slack is mapped by: with the team, or the user's id alone."""

from connectors_app.models import ChatIdentity, Connector


def known_as(connector: Connector, team_id: str, user_id: str) -> str:
    """Return the external id that is mapped for this person, "" for a stranger.

    The one with the team takes precedence. Events and clicks use the same id, so that a run's requester is
    recognised when pressing its buttons.
    """
    names = [f"{team_id}:{user_id}", user_id]
    rows = ChatIdentity.objects.filter(connector=connector, external_id__in=names)
    found = set(rows.values_list("external_id", flat=True))
    return next((name for name in names if name in found), "")

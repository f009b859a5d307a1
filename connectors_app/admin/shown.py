"""Columns that several pages of this app share."""

from typing import Any

from django.contrib import admin
from django.utils.safestring import SafeString

from sessions_app.admin import show


@admin.display(description="connector")
def connector_link(self: Any, row: Any) -> SafeString | str:
    """Return a link to the row's connector; plain text if it was removed, as it then has no page."""
    connector = row.connector
    if connector is None:
        return show.NOTHING
    return str(connector) if connector.removed_at else show.link(connector, str(connector))

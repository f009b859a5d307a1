"""What journal pages of sessions and runs share."""

from collections.abc import Callable
from typing import Any

from rest_framework.response import Response

from sessions_app.api import pagination
from sessions_app.services.events import Page


def journal_page(query: dict[str, Any], read: Callable[..., Page[int]], *, total: int) -> Response:
    """Answer with one page of entries; its cursor is the ``seq`` of the last one."""
    limit = pagination.read_limit(query.get("limit"))
    page = read(after=query["after"], limit=limit, kinds=query["kinds"])
    more = {
        "limit": limit,
        "total_count": total,
        "has_more": page.has_more,
        "next_cursor": str(page.entries[-1].seq) if page.has_more else None,
        "order": "asc",
    }
    return Response({"items": page.items(), "pagination": more})

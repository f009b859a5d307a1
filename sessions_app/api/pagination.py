"""Lists in pages: ``{"items": […], "pagination": {…}}``, always."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any, Final, Literal

from django.db.models import Field, IntegerField, QuerySet

from kheish_site.lib.errors import BadRequest

DEFAULT_LIMIT: Final = 50
LARGEST_LIMIT: Final = 100
_LARGEST_KEY: Final = 2**63 - 1
Order = Literal["asc", "desc"]


def paginate(
    rows: QuerySet[Any],
    query: Any,
    *,
    render: Callable[[list[Any]], Any],
    key: str = "id",
    order: Order = "desc",
    total: int | None = None,
) -> dict[str, Any]:
    """Return one page of ``rows`` ordered by ``key``: a unique column, or an annotated unique number.

    ``query`` holds ``limit`` (1 to 100, larger is clamped) and ``cursor``; ``total`` spares the count
    where the caller knows it. ``render`` turns the rows of the page into JSON.
    Raises: BadRequest(invalid_limit), BadRequest(invalid_cursor).
    """
    limit = read_limit(query.get("limit"))
    computed, of = key in rows.query.annotations, f"{rows.model._meta.model_name}.{key}"
    column = IntegerField() if computed else rows.model._meta.get_field(key)
    after = read_cursor(query.get("cursor"), of, column)
    counted = rows.order_by().count() if total is None else total
    if after is not None:
        rows = rows.filter(**{f"{key}__{'gt' if order == 'asc' else 'lt'}": after})
    found = list(rows.order_by(key if order == "asc" else f"-{key}")[: limit + 1])
    page = found[:limit]
    more = len(found) > limit
    return {
        "items": render(page),
        "pagination": {
            "limit": limit,
            "total_count": counted,
            "has_more": more,
            "next_cursor": write_cursor(of, getattr(page[-1], key)) if more else None,
            "order": order,
        },
    }


def read_limit(text: str | None) -> int:
    """Return the page size asked for. Raises: BadRequest(invalid_limit)."""
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) == 0:
        raise BadRequest(
            "limit must be a whole number from 1 to 100", code="invalid_limit", domain="pagination"
        )
    return min(int(text), LARGEST_LIMIT)


def write_cursor(of: str, value: int | str) -> str:
    """Return the cursor after the row whose sort key is ``value``: unpadded base64url of its JSON.

    ``of`` names the list, so that a cursor does not lead anywhere in another one.
    """
    said = json.dumps([of, value], separators=(",", ":"))
    return base64.urlsafe_b64encode(said.encode()).decode().rstrip("=")


def read_cursor(text: str | None, of: str, column: "Field[Any, Any]") -> int | str | None:
    """Return the sort key in a cursor that ``write_cursor`` made. Raises: BadRequest(invalid_cursor)."""
    if text is None:
        return None
    refusal = BadRequest("this is not a cursor of this list", code="invalid_cursor", domain="pagination")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        whose, value = json.loads(raw)
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise refusal from None
    if whose != of:
        raise refusal
    if isinstance(column, IntegerField):
        if type(value) is not int or not 0 <= value <= _LARGEST_KEY:
            raise refusal
    elif type(value) is not str or "\x00" in value or not value.isprintable():
        raise refusal
    return value

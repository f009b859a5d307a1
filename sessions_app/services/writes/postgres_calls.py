"""Tool calls in the one statement: inserted, or moved if all of them are in the state they were read in.

They come as one JSON array, so that the text, which the server keeps prepared, is the same for any number.
"""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from django.db.models import Model

from sessions_app.models import ToolCall
from sessions_app.services.writes.change import Advance

READY: Final = """
ready AS MATERIALIZED (
  SELECT count(*) AS calls FROM (
    SELECT t.id FROM held, json_to_recordset(%(advances)s::json) AS c (id bigint, was text)
    JOIN sessions_app_toolcall AS t ON t.id = c.id AND t.state = c.was
    WHERE held.ok FOR NO KEY UPDATE OF t) AS found)"""
"""Locks the calls that move and counts those that are as they were read."""

KEYS: Final = '(SELECT array_agg(id ORDER BY "index") FROM planned)'
"""The keys of the calls that were inserted, in the order of their index."""

_PLANNED: Final = """
planned AS (
  INSERT INTO sessions_app_toolcall ({names})
  SELECT {values}
  FROM chained, json_populate_recordset(NULL::sessions_app_toolcall, %(planned)s::json) AS c
  RETURNING id, "index")"""

_ADVANCED: Final = """
advanced AS (
  UPDATE sessions_app_toolcall AS t SET {sets}
  FROM chained, json_populate_recordset(NULL::sessions_app_toolcall, %(advances)s::json) AS c
  WHERE t.id = c.id)"""


def planned(calls: Iterable[ToolCall], values: dict[str, Any]) -> str:
    """Return the part that inserts ``calls``; ``values`` gains its parameter."""
    columns = _columns()
    values["planned"] = _json({name: getattr(call, of) for name, of in columns.items()} for call in calls)
    return _PLANNED.format(names=", ".join(columns), values=", ".join(f"c.{name}" for name in columns))


def advanced(advances: Sequence[Advance], values: dict[str, Any]) -> str:
    """Return the part that moves calls; ``values`` gains its parameter, which ``READY`` needs too."""
    columns = [_column(name) for name in advances[0].changes]
    values["advances"] = _json(
        dict(zip(("id", "was", *columns), (made.call.pk, made.was, *made.changes.values()), strict=True))
        for made in advances
    )
    return _ADVANCED.format(sets=", ".join(f"{name} = c.{name}" for name in columns))


@cache
def _columns() -> dict[str, str]:
    """Return the attribute of each column but the key."""
    fields = [field for field in ToolCall._meta.concrete_fields if not field.primary_key]
    return {str(field.column): field.attname for field in fields}


@cache
def _column(name: str) -> str:
    field: Any = ToolCall._meta.get_field(name)
    return str(field.column)


def _json(rows: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(rows), default=_plain)


def _plain(value: Any) -> Any:
    """Return what JSON can hold of a column's value: a time as text, a related row as its key."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Model):
        return value.pk
    raise TypeError(f"{type(value).__name__} is no value of a column")

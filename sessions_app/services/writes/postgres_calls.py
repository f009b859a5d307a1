"""Tool calls in the one statement: inserted, or moved if all of them are in the state they were read in.

They come as one JSON array, so that the text, which the server keeps prepared, is the same for any number.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sessions_app.models import ToolCall
from sessions_app.services.writes.change import Advance

READY: Final = """
ready AS MATERIALIZED (
  SELECT count(*) = json_array_length(%(advances)s::json) AS all_are, array_agg(found.id) AS ids
  FROM held, json_to_recordset(%(advances)s::json) AS c (id bigint, was text), LATERAL (
    SELECT t.id FROM sessions_app_toolcall AS t WHERE t.id = c.id AND t.state = c.was
    FOR NO KEY UPDATE) AS found
  WHERE held.ok)"""
"""Locks the calls that move and tells whether all of them are as they were read.

Whoever plans it believes that a hundred calls come with the JSON, and would read a smaller table from end to
end: a lateral query and an array of keys leave no choice but the index.
"""

KEYS: Final = '(SELECT array_agg(id ORDER BY "index") FROM calls)'
"""The keys of the calls that were inserted, in the order of their index."""

_INSERTED: Final = """
calls AS (
  INSERT INTO sessions_app_toolcall ({names})
  SELECT {values}
  FROM chained, json_populate_recordset(NULL::sessions_app_toolcall, %(calls)s::json) AS c
  RETURNING id, "index")"""

_ADVANCED: Final = """
advanced AS (
  UPDATE sessions_app_toolcall AS t SET {sets}
  FROM chained, json_populate_recordset(NULL::sessions_app_toolcall, %(advances)s::json) AS c
  WHERE t.id = c.id AND t.id = ANY ((SELECT ids FROM ready)::bigint[]))"""


def inserted(calls: Iterable[ToolCall], values: dict[str, Any]) -> str:
    """Return the part that inserts ``calls``; ``values`` gains its parameter."""
    columns = _columns()
    values["calls"] = json.dumps([_row(call, columns) for call in calls])
    return _INSERTED.format(names=", ".join(columns), values=", ".join(f"c.{name}" for name in columns))


def advanced(advances: Sequence[Advance], values: dict[str, Any]) -> str:
    """Return the part that moves calls; ``values`` gains its parameter, which ``READY`` needs too."""
    columns = _columns(*advances[0].changes)
    values["advances"] = json.dumps(
        [{"id": made.call.pk, "was": made.was, **_row(made.call, columns)} for made in advances]
    )
    return _ADVANCED.format(sets=", ".join(f"{name} = c.{name}" for name in columns))


@cache
def _columns(*names: str) -> dict[str, str]:
    """Return the attribute of each column of the fields that are named, or of all but the key."""
    meta = ToolCall._meta
    fields: list[Any] = [meta.get_field(name) for name in names]
    fields = fields or [field for field in meta.concrete_fields if not field.primary_key]
    return {str(field.column): field.attname for field in fields}


def _row(call: ToolCall, columns: Mapping[str, str]) -> dict[str, Any]:
    found = {name: getattr(call, of) for name, of in columns.items()}
    return {
        name: value.isoformat() if isinstance(value, datetime) else value for name, value in found.items()
    }

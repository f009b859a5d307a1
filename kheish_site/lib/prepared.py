"""Statements whose SQL is built once: for the few that every event and every step makes.

Building a query through the ORM costs several times what the database needs to answer it. A prepared read
keeps what the ORM made of it, the text, the converters and the order of columns, and gives the same rows.
It leans on Django's own compiler, so a test holds each of its results against the ORM's.

What a query names itself (a status, an empty owner) becomes part of the text: a partial index is of no use
to a plan that must also hold for other values.
"""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable, get_related_populators

R = TypeVar("R")
_TEXT: Final = "\x01argument {}"
_NUMBER: Final = 918_273_640
Build = Callable[..., QuerySet[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class _Compiled:
    sql: str
    params: tuple[Any, ...]
    places: tuple[tuple[int, int], ...]
    converters: tuple[tuple[int, list[Any], Any], ...]
    width: int
    make: Callable[[list[Any]], Any]


class Prepared(Generic[R]):
    """``build`` makes the query from its arguments; ``kinds`` says what these are: ``str`` or ``int``.

    Arguments may only be compared with columns of that kind; an ``__in`` or a slice by argument is not
    possible. Thread safe. Needs the database, joins an open transaction.
    """

    def __init__(self, build: Build, *kinds: type) -> None:
        self._build, self._kinds = build, kinds
        self._lock = threading.Lock()
        self._compiled: dict[str, _Compiled] = {}

    def all(self, *arguments: Any) -> list[R]:
        """Return every row."""
        connection = database()
        compiled = self._compiled.get(connection.vendor) or self._compile()
        params = list(compiled.params)
        for place, argument in compiled.places:
            params[place] = arguments[argument]
        with _cursor(connection) as cursor:
            cursor.execute(compiled.sql, params)
            found = cursor.fetchall()
        return [self._row(compiled, row, connection) for row in found]

    def first(self, *arguments: Any) -> R | None:
        """Return the first row of an ordered or unique query, or None."""
        rows = self.all(*arguments)
        return rows[0] if rows else None

    def _row(self, compiled: _Compiled, row: tuple[Any, ...], connection: Any) -> R:
        values = list(row[: compiled.width])
        for place, converters, expression in compiled.converters:
            for convert in converters:
                values[place] = convert(values[place], expression, connection)
        made: R = compiled.make(values)
        return made

    def _compile(self) -> _Compiled:
        vendor = database().vendor
        with self._lock:
            known = self._compiled.get(vendor)
            if known is None:
                known = self._compiled[vendor] = _compile(self._build, self._kinds)
        return known


def database() -> Any:
    """Return this thread's connection itself: each use of Django's proxy finds it anew."""
    return connections[DEFAULT_DB_ALIAS]


def prepared_cursor() -> Any:
    """Return a cursor for a statement of fixed text, which PostgreSQL parses once for each connection."""
    return _cursor(database())


def _cursor(connection: Any) -> Any:
    return connection.prepared_cursor() if connection.vendor == "postgresql" else connection.cursor()


def insert(row: Model) -> None:
    """Insert a new row and give it its key: what ``save`` does, without signals and ``auto_now``.

    Joins an open transaction. Raises: IntegrityError.
    """
    _insert(row, "")


def insert_if_new(row: Model) -> bool:
    """Insert a row like ``insert`` unless one is there that excludes it; tell whether it was inserted.

    Waits for a transaction that has such a row and is not over. Joins an open transaction.
    """
    return _insert(row, " ON CONFLICT DO NOTHING")


def _insert(row: Model, otherwise: str) -> bool:
    connection = database()
    sql, fields = _insertion(type(row), otherwise, connection.vendor)
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    with _cursor(connection) as cursor:
        cursor.execute(sql, values)
        made = cursor.fetchone()
    if made is None:
        return False
    inserted(row, made[0])
    return True


def inserted(row: Model, pk: int) -> None:
    """Give an instance the key under which its row was inserted."""
    row.pk = pk
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def update(row: Model, changes: Mapping[str, Any], *, where: Mapping[str, Any]) -> bool:
    """Write some columns of a row while it is as ``where`` says, and into the instance; tell whether it was.

    What ``filter(pk=…, **where).update(**changes)`` does to the row; the instance keeps it also when the
    transaction, which this joins, fails later. A relation is given as the related row or None.
    Raises: IntegrityError.
    """
    connection = database()
    sql, fields = _updating(type(row), tuple(changes), tuple(where), connection.vendor)
    values = [
        field.get_db_prep_save(value.pk if isinstance(value, Model) else value, connection)
        for field, value in zip(fields, (*changes.values(), *where.values()), strict=True)
    ]
    with _cursor(connection) as cursor:
        cursor.execute(sql, [*values, row.pk])
        written = bool(cursor.rowcount)
    if written:
        for name, value in changes.items():
            setattr(row, name, value)
    return written


@cache
def _updating(
    model: type[Model], changed: tuple[str, ...], guards: tuple[str, ...], vendor: str
) -> tuple[str, tuple[Any, ...]]:
    quoted = database().ops.quote_name
    fields: tuple[Any, ...] = tuple(model._meta.get_field(name) for name in (*changed, *guards))
    columns = [f"{quoted(str(field.column))} = %s" for field in fields]
    table, key = quoted(model._meta.db_table), quoted(str(model._meta.pk.column))
    sets, guarded = ", ".join(columns[: len(changed)]), columns[len(changed) :]
    return f"UPDATE {table} SET {sets} WHERE {' AND '.join([*guarded, f'{key} = %s'])}", fields


@cache
def _insertion(model: type[Model], otherwise: str, vendor: str) -> tuple[str, tuple[Any, ...]]:
    quoted = database().ops.quote_name
    fields = tuple(field for field in model._meta.concrete_fields if not field.primary_key)
    names = ", ".join(quoted(str(field.column)) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    table, key = quoted(model._meta.db_table), quoted(str(model._meta.pk.column))
    return f"INSERT INTO {table} ({names}) VALUES ({marks}){otherwise} RETURNING {key}", fields


def _compile(build: Build, kinds: tuple[type, ...]) -> _Compiled:
    marks = [_TEXT.format(n) if kind is str else _NUMBER - n for n, kind in enumerate(kinds)]
    rows = build(*marks)
    connection = database()
    compiler = rows.query.get_compiler(connection=connection)
    text, given = compiler.as_sql()
    sql, params = _with_constants(text, given, marks)
    places = tuple((place, marks.index(value)) for place, value in enumerate(params) if value in marks)
    if {argument for _, argument in places} != set(range(len(marks))):
        raise ValueError("an argument of a prepared read does not appear in its SQL as it is")
    expressions = [column[0] for column in compiler.select[: compiler.col_count]]
    converters = compiler.get_converters(expressions)
    return _Compiled(
        sql=sql,
        params=params,
        places=places,
        converters=tuple((place, *converters[place]) for place in converters),
        width=compiler.col_count,
        make=_maker(compiler, rows.db) if issubclass(rows._iterable_class, ModelIterable) else tuple,
    )


def _with_constants(sql: str, params: Sequence[Any], marks: Sequence[Any]) -> tuple[str, tuple[Any, ...]]:
    """Return the text with the query's own texts and numbers in it, and the parameters that are left."""
    values, left = iter(params), list[Any]()

    def place(found: re.Match[str]) -> str:
        if found[0] != "%s":
            return found[0]
        value = next(values)
        if value not in marks:
            if isinstance(value, int) and not isinstance(value, bool):
                return str(int(value))
            if isinstance(value, str):
                return "'" + str(value).replace("'", "''").replace("%", "%%") + "'"
        left.append(value)
        return "%s"

    return re.sub("%[%s]", place, sql), tuple(left)


def _maker(compiler: Any, db: str) -> Callable[[list[Any]], Any]:
    """Return what makes a row's values into an instance with its relations."""
    info = compiler.klass_info
    start, end = info["select_fields"][0], info["select_fields"][-1] + 1
    names = [column[0].target.attname for column in compiler.select[start:end]]
    related: Any = get_related_populators  # the stubs know a later Django
    populators = related(info, compiler.select, db)
    model, annotated = info["model"], dict(compiler.annotation_col_map or {})

    def make(values: list[Any]) -> Any:
        made = model.from_db(db, names, values[start:end])
        for populator in populators:
            populator.populate(values, made)
        for name, place in annotated.items():
            setattr(made, name, values[place])
        return made

    return make

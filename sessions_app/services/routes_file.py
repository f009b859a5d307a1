"""The routes file: routes and secret slots as TOML, applied when the service starts.

    version = 1
    default_route = "main"

    [slots.openai-main]
    value_env = "OPENAI_API_KEY"        # or value_file = "/run/secrets/openai"

    [routes.main]
    driver = "openai"
    model = "gpt-4o-mini"
    auth_ref = "openai-main"            # or api_key_env = "OPENAI_API_KEY", which makes a slot
    fallbacks = ["local"]

    [routes.local]
    driver = "openai"
    base_url = "http://127.0.0.1:8000/v1"
    model = "any"

Applying a file twice changes nothing. What the file does not name is left alone.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import exclusive, write
from kheish_site.settings import env
from sessions_app.models import Route, SecretSlot
from sessions_app.services import routes, secrets
from sessions_app.services.routes import RouteFields

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@\-]{0,199}", re.ASCII)
_TOP: Final[dict[str, type]] = {"version": int, "default_route": str, "routes": dict, "slots": dict}
_SLOT: Final[dict[str, type]] = {"provider": str, "mode": str, "value_env": str, "value_file": str}
_ROUTE: Final[dict[str, type]] = {
    "driver": str,
    "model": str,
    "default_model": str,
    "base_url": str,
    "auth_ref": str,
    "api_key_env": str,
    "options": dict,
    "fallbacks": list,
}


class RoutesFileInvalid(KheishError):
    """The file cannot be applied; the detail names file and line."""

    code, domain, status = "routes_file_invalid", "routes", 400


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a load changed, by id."""

    slots: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)


def load(path: Path) -> Applied:
    """Apply the file in one transaction. Raises: RoutesFileInvalid."""
    file = _File(path)
    slots, wanted, default = file.slots(), file.routes(), file.default()
    try:
        with write():
            exclusive("configuration")
            changed_slots = [slot_id for slot_id, slot in slots.items() if _put_slot(slot_id, slot)]
            made = [route_id for route_id, fields in wanted.items() if _make(route_id, fields)]
            # Fallbacks once all routes exist; those that lose some go before those that gain some.
            ordered = sorted(wanted.items(), key=lambda item: len(item[1].fallbacks))
            changed = [route_id for route_id, fields in ordered if _adapt(route_id, fields)]
            if default:
                routes.set_default(default)
    except KheishError as error:
        raise RoutesFileInvalid(f"{path}: {error.detail}") from error
    return Applied(slots=changed_slots, routes=sorted({*made, *changed}))


def _put_slot(slot_id: str, slot: "_Slot") -> bool:
    present = SecretSlot.objects.filter(slot_id=slot_id).first()
    described = present is not None and (present.provider, present.mode) == (slot.provider, slot.mode)
    if present is not None and described and secrets.holds(present, slot.value):
        return False
    secrets.put(slot_id, provider=slot.provider, mode=slot.mode, value=slot.value)
    return True


def _make(route_id: str, fields: RouteFields) -> bool:
    if Route.objects.filter(route_id=route_id).exists():
        return False
    routes.create(route_id, replace(fields, fallbacks=[]))
    return True


def _adapt(route_id: str, fields: RouteFields) -> bool:
    route = routes.get(route_id)
    changes = {name: value for name, value in asdict(fields).items() if getattr(route, name) != value}
    if changes:
        routes.update(route_id, changes)
    return bool(changes)


@dataclass(frozen=True, kw_only=True)
class _Slot:
    value: str = field(repr=False)
    provider: str = ""
    mode: str = "api_key"


class _File:
    """A parsed file that still knows where its lines are, to say which one is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._text = path.read_text(encoding="utf-8")
            self._content: dict[str, Any] = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise RoutesFileInvalid(f"{path}: {error}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise RoutesFileInvalid(f"{path} cannot be read: {error}") from None
        self._check("", self._content, _TOP)
        if self._content.get("version") != 1:
            raise self._fault("", "version", "version must be 1")

    def slots(self) -> dict[str, _Slot]:
        """Return the slots of ``[slots.*]`` and of the routes' ``api_key_env``."""
        found = {}
        for slot_id, table in self._tables("slots", _SLOT):
            plain = {name: table[name] for name in ("provider", "mode") if name in table}
            found[slot_id] = _Slot(value=self._value(f"slots.{slot_id}", table), **plain)
        for route_id, table in self._tables("routes", _ROUTE):
            if "api_key_env" in table:
                where = f"routes.{route_id}"
                if "auth_ref" in table:
                    raise self._fault(where, "api_key_env", "give auth_ref or api_key_env, not both")
                value = self._variable(where, "api_key_env", table["api_key_env"])
                found[route_id] = _Slot(value=value, provider=table.get("driver", ""))
        return found

    def routes(self) -> dict[str, RouteFields]:
        """Return the routes by id."""
        found = {}
        for route_id, table in self._tables("routes", _ROUTE):
            where = f"routes.{route_id}"
            if "driver" not in table:
                raise self._fault(where, "", "driver is missing")
            if "model" in table and "default_model" in table:
                raise self._fault(where, "default_model", "give model or default_model, not both")
            found[route_id] = RouteFields(
                driver=table["driver"],
                model=table.get("model", table.get("default_model", "")),
                base_url=table.get("base_url", ""),
                auth_ref=route_id if "api_key_env" in table else table.get("auth_ref", ""),
                fallbacks=[str(name) for name in table.get("fallbacks", [])],
                options=table.get("options", {}),
            )
        return found

    def default(self) -> str:
        """Return the id of the default route; "" when the file has no routes."""
        names = list(self._content.get("routes", {}))
        chosen = str(self._content.get("default_route", ""))
        if len(names) > 1 and not chosen:
            raise self._fault("", "", "default_route is missing, and there are several routes")
        if chosen and chosen not in names:
            raise self._fault("", "default_route", f"there is no route {chosen} in this file")
        return chosen or next(iter(names), "")

    def _tables(self, name: str, members: Mapping[str, type]) -> Iterator[tuple[str, dict[str, Any]]]:
        for key, table in self._content.get(name, {}).items():
            if not _ID.fullmatch(key):
                raise self._fault(name, key, f"{key!r} is no id: letters, digits and . _ : @ -")
            if not isinstance(table, dict):
                raise self._fault(name, key, f"{name}.{key} must be a table")
            self._check(f"{name}.{key}", table, members)
            yield key, table

    def _check(self, where: str, table: Mapping[str, Any], members: Mapping[str, type]) -> None:
        for name, value in table.items():
            if name not in members:
                raise self._fault(where, name, f"unknown key {name}")
            if not isinstance(value, members[name]) or isinstance(value, bool):
                raise self._fault(where, name, f"{name} must be of type {members[name].__name__}")

    def _value(self, where: str, table: Mapping[str, Any]) -> str:
        if ("value_env" in table) == ("value_file" in table):
            raise self._fault(where, "", "give value_env or value_file")
        if "value_env" in table:
            return self._variable(where, "value_env", table["value_env"])
        try:
            return (self._path.parent / table["value_file"]).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._fault(where, "value_file", f"cannot be read: {error}") from None

    def _variable(self, where: str, key: str, name: str) -> str:
        value = env.text(name)
        if not value:
            raise self._fault(where, key, f"the environment variable {name} is not set")
        return value

    def _fault(self, where: str, key: str, reason: str) -> RoutesFileInvalid:
        return RoutesFileInvalid(f"{self._path}, line {_line(self._text, where, key)}: {reason}")


def _line(text: str, where: str, key: str) -> int:
    """Return the line of ``key`` in table ``where``, or of the table's header, or 1."""
    where = _plain(where)
    table, header = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        if match := re.match(r"\s*\[+([^\]]+)\]", line):
            table = _plain(match.group(1))
            if table == _plain(f"{where}.{key}".strip(".")) and key:
                return number
            if table == where:
                header = number
        elif table == where and key and re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line):
            return number
    return header


def _plain(name: str) -> str:
    """Return a table's name without the quotes and spaces that TOML allows in a header."""
    return re.sub(r"""["'\s]""", "", name)

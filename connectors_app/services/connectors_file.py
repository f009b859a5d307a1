"""The connectors file: connectors as TOML, loaded when the service starts and again whenever it changes.

    version = 1

    [[http_connectors]]
    name = "alerts"
    fixed_session_id = "incident-4821"
    bearer_token_env = "ALERTS_TOKEN"        # or bearer_token_secret_ref = "slot", or bearer_token = "…"

    [[slack_connectors]]
    name = "ops"
    bot_token_secret_ref = "slack-bot"
    signing_secret_env = "SLACK_SIGNING_SECRET"

The file owns the connectors it names: the API refuses to change them, and one that is gone from the file is
removed. A file with any error changes nothing. When no file is configured any more, the connectors it left
are removed like any other (``remove``).
"""

import logging
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from rest_framework.serializers import ValidationError

from connectors_app.models import Connector, ConnectorSource
from connectors_app.services import connectors, registry
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import write

logger = logging.getLogger(__name__)
_SUFFIX: Final = "_connectors"
PRINCIPAL: Final = "connectors file"


class ConnectorsFileInvalid(KheishError):
    """The file cannot be applied; the detail names the connector at fault."""

    code, domain, status = "connectors_file_invalid", "connectors", 400


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a load changed, as ``kind/name``. ``file`` is the file in force, "" without one."""

    file: str = ""
    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    kind: str
    name: str
    settings: dict[str, Any]
    secrets: dict[str, dict[str, str]] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def reload() -> Applied:
    """Load the file that the settings name; without one nothing happens. Raises: ConnectorsFileInvalid."""
    path = settings.KHEISH.connectors_file
    return load(path) if path is not None else Applied()


def load(path: Path) -> Applied:
    """Apply the file in one transaction. Applying it twice changes nothing. Raises: ConnectorsFileInvalid."""
    wanted = list(_read(path))
    try:
        with write():
            written = [str(item) for item in wanted if _apply(path, item)]
            removed = _remove_others({str(item) for item in wanted})
    except KheishError as error:
        if isinstance(error, ConnectorsFileInvalid):
            raise
        raise ConnectorsFileInvalid(f"{path}: {error.detail}") from error
    if written or removed:
        changed = {"changed": len(written) + len(removed), "removed": len(removed)}
        logger.info("connectors file applied", extra={"action": "connectors.load", **changed})
    return Applied(file=str(path), written=written, removed=removed)


def removable(row: Connector) -> bool:
    """Tell whether people may remove a connector: not one the file names, or might while it is unreadable."""
    path = settings.KHEISH.connectors_file
    if row.source != ConnectorSource.FILE or path is None:
        return True
    try:
        return str(row) not in {str(item) for item in _read(path)}
    except ConnectorsFileInvalid:
        return False


def remove(kind: str, name: str) -> None:
    """Remove a connector as a person asked. Raises: as ``connectors.delete``."""
    row = connectors.get(kind, name)
    source = ConnectorSource(row.source) if removable(row) else ConnectorSource.DAEMON
    connectors.delete(kind, name, source=source)


def _apply(path: Path, item: _Wanted) -> bool:
    """Write one connector; return whether that changed it."""
    stored = connectors.everything().filter(kind=item.kind, name=item.name).first()
    before = (stored.settings, stored.secrets) if stored else None
    try:
        row, _ = connectors.put(
            item.kind,
            item.name,
            item.settings,
            item.secrets,
            principal=PRINCIPAL,
            source=ConnectorSource.FILE,
            whole=True,
        )
    except ValidationError as error:
        raise ConnectorsFileInvalid(f"{path}, {item}: {_sentence(error.detail)}") from error
    except KheishError as error:
        raise ConnectorsFileInvalid(f"{path}, {item}: {error.detail}") from error
    return before != (row.settings, row.secrets)


def _remove_others(named: set[str]) -> list[str]:
    gone = [
        row for row in connectors.everything().filter(source=ConnectorSource.FILE) if str(row) not in named
    ]
    for row in gone:
        connectors.delete(row.kind, row.name, source=ConnectorSource.FILE)
    return [str(row) for row in gone]


def _read(path: Path) -> Iterator[_Wanted]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConnectorsFileInvalid(f"{path}: {error}") from None
    if content.pop("version", None) != 1:
        raise ConnectorsFileInvalid(f"{path}: version must be 1")
    seen: set[str] = set()
    for title, tables in content.items():
        kind = title.removesuffix(_SUFFIX)
        if kind not in registry.kind_names() or not title.endswith(_SUFFIX):
            known = ", ".join(f"{name}{_SUFFIX}" for name in registry.kind_names())
            raise ConnectorsFileInvalid(f"{path}: unknown key {title}; there are: {known}")
        if not isinstance(tables, list):
            raise ConnectorsFileInvalid(f"{path}: write one [[{title}]] for each connector")
        for table in tables:
            item = _wanted(path, kind, table)
            if str(item) in seen:
                raise ConnectorsFileInvalid(f"{path}: {item} appears twice")
            seen.add(str(item))
            yield item


def _wanted(path: Path, kind: str, table: Any) -> _Wanted:
    if not isinstance(table, Mapping):
        raise ConnectorsFileInvalid(f"{path}: each of {kind}{_SUFFIX} must be a table")
    given = dict(table)
    name = given.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ConnectorsFileInvalid(f"{path}: a connector of {kind}{_SUFFIX} has no name")
    if not connectors.is_name(name):
        raise ConnectorsFileInvalid(f"{path}: {name!r} is not a name: use letters, digits and . _ -")
    secrets: dict[str, dict[str, str]] = {}
    for secret in connectors.kind_of(kind).secrets:
        forms = {"value": secret, "env": f"{secret}_env", "secret_ref": f"{secret}_secret_ref"}
        place = {form: given.pop(key) for form, key in forms.items() if key in given}
        if len(place) > 1:
            raise ConnectorsFileInvalid(f"{path}, {kind}/{name}: give one of {', '.join(forms.values())}")
        if place:
            secrets[secret] = place
    return _Wanted(kind=kind, name=name, settings=given, secrets=secrets)


def _sentence(detail: Any, where: str = "") -> str:
    if isinstance(detail, dict):
        return "; ".join(_sentence(inner, f"{where}.{name}".strip(".")) for name, inner in detail.items())
    if isinstance(detail, list):
        return "; ".join(_sentence(inner, where) for inner in detail)
    return f"{where}: {detail}" if where else str(detail)

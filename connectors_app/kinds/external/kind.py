"""The kind ``external``: its settings, what must hold of them, and its test event."""

import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, ClassVar, Final
from urllib.parse import SplitResult, urlsplit

from rest_framework import serializers

from connectors_app.kinds.external import events, instances
from connectors_app.kinds.external.names import CHILD, NAME, REMOTE, RESERVED, TOKEN
from connectors_app.models import Connector
from connectors_app.services.contracts import ConnectorInvalid, InboundEvent, no_slot
from connectors_app.services.shapes import ChatSettings, optional_text
from kheish_site.lib import clock
from kheish_site.lib.ids import new_id
from sessions_app.api.serializers.base import Choice, Flag, List, StrictSerializer, Text
from sessions_app.models import SecretSlot
from sessions_app.tools.addresses import is_public

_MOST: Final = 50
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SHELL: Final = frozenset(
    ["_", "BASHOPTS", "EUID", "IFS", "OLDPWD", "OPTIND", "PPID", "PWD", "SHELLOPTS", "SHLVL", "UID"]
)  # set by the shell that starts it; some of them are read-only there


class Variables(serializers.DictField):
    """Environment variables by name."""

    def __init__(self, **kwargs: Any) -> None:
        text = Text(max_length=8192, allow_blank=True)
        super().__init__(child=text, required=False, default=dict, **kwargs)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        """Return the variables. Raises: ValidationError."""
        if isinstance(data, Mapping) and len(data) > _MOST:
            raise serializers.ValidationError(f"at most {_MOST} variables")
        found: dict[str, str] = super().to_internal_value(data)
        for name in found:
            if not _VARIABLE.fullmatch(name):
                raise serializers.ValidationError({name: ["is not a valid variable name"]})
            if name.upper().startswith(RESERVED) or name in _SHELL:
                raise serializers.ValidationError({name: ["is set by the service itself"]})
        return found


class ChildProcess(StrictSerializer):
    """The process a worker starts and keeps running.

    ``env`` is write-only: its names are shown, as ``env_keys``. ``credential_slots`` maps names to secret
    slots; the process reads those with its lease, and none of them is in its environment.
    """

    command = Text(max_length=1000)
    args = List(child=Text(max_length=4000, allow_blank=True), max_length=100, required=False, default=list)
    env = Variables()
    credential_slots = Variables()
    working_dir = optional_text(max_length=1000)


class ExternalSettings(ChatSettings):
    """The settings of one external connector."""

    platform = Text(max_length=100)
    mode = Choice(choices=[REMOTE, CHILD], default=REMOTE)
    base_url = Text(max_length=1000)
    allow_private_network = Flag(default=False)
    child_process = ChildProcess(required=False, allow_null=True, default=None)


class ExternalKind:
    """A sidecar in front of one platform."""

    name: ClassVar[str] = NAME
    settings: ClassVar[type[serializers.Serializer]] = ExternalSettings
    secrets: ClassVar[tuple[str, ...]] = (TOKEN,)

    def check(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        """Check the whole definition. Needs the database for the slots. Raises: ConnectorInvalid."""
        if TOKEN not in secrets and not settings["allow_unauthenticated_ingress"]:
            raise ConnectorInvalid("shared_token is needed, or allow_unauthenticated_ingress")
        if not settings["platform"].strip():
            raise ConnectorInvalid("platform is empty")
        url = _url(settings["base_url"])
        if settings["mode"] == CHILD:
            _check_child(settings, url)
        else:
            _check_remote(settings, url)

    def trouble(self, rows: Sequence[Connector]) -> dict[int, str]:
        """Return what is wrong with child processes (``contracts.KnowsTrouble``); others are unwatched."""
        return instances.trouble([row.pk for row in rows if row.settings.get("mode") == CHILD])

    def slots_of(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the slots that the child process may read (``contracts.NamesSlots``)."""
        return sorted((settings.get("child_process") or {}).get("credential_slots", {}).values())

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings with ``env_keys`` in place of ``env`` (``contracts.KeepsValues``)."""
        child = settings.get("child_process")
        if not child:
            return dict(settings)
        visible = {member: value for member, value in child.items() if member != "env"}
        return {**settings, "child_process": {**visible, "env_keys": sorted(_env_of(settings))}}

    def kept(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return the child's variables by the names shown for them (``contracts.KeepsValues``)."""
        return {f"child_process.env.{name}": value for name, value in _env_of(settings).items()}

    def completed(self, given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Keep the stored variables that ``env_keys`` names; all of them without ``env_keys`` and ``env``."""
        child, stored_env = given.get("child_process"), _env_of(stored)
        if not isinstance(child, Mapping) or ("env" in child and "env_keys" not in child):
            return dict(given)
        members = {member: value for member, value in child.items() if member != "env_keys"}
        keys, fresh = child.get("env_keys", list(stored_env)), members.get("env", {})
        if not isinstance(keys, list) or not all(isinstance(name, str) for name in keys):
            raise ConnectorInvalid("child_process.env_keys is a list of names")
        if not isinstance(fresh, Mapping):
            return {**given, "child_process": members}  # the serializer refuses it
        if unknown := sorted(set(keys) - set(stored_env) - set(fresh)):
            raise ConnectorInvalid(f"{unknown[0]} of child_process.env_keys has no value: write it in env")
        env = {name: stored_env[name] for name in stored_env if name in keys} | dict(fresh)
        return {**given, "child_process": {**members, "env": env}}

    def is_open(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> bool:
        """See ``contracts.Kind``."""
        return TOKEN not in secrets

    def test_event(self, connector: Connector) -> InboundEvent:
        """Return a message as a sidecar would push it; its thread is the connector's own test thread."""
        event = {
            "event_id": new_id("test"),
            "occurred_at_ms": int(clock.now().timestamp() * 1000),
            "actor_id": "connector-test",
            "thread": {"path": ["connector-test"]},
            "content": "This is a test of the connector.",
        }
        return events.read(connector, event)

    def trial(self, connector: Connector, body: Any) -> InboundEvent:
        """See ``contracts.ReadsTrials``."""
        return events.read(connector, body)


def _env_of(settings: Mapping[str, Any]) -> dict[str, str]:
    return dict((settings.get("child_process") or {}).get("env", {}))


def _url(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        valid = bool(url.hostname) and url.port != 0
    except ValueError:
        valid, url = False, urlsplit("")
    if not valid or url.scheme not in ("http", "https") or any(char.isspace() for char in text):
        raise ConnectorInvalid("base_url is an http or https address")
    if "@" in url.netloc:
        raise ConnectorInvalid("base_url holds no user name: use shared_token")
    return url


def _check_child(settings: Mapping[str, Any], url: SplitResult) -> None:
    child = settings["child_process"]
    if not child:
        raise ConnectorInvalid("mode child_process needs the block child_process")
    if not _is_loopback(url.hostname or "") or not url.port:
        raise ConnectorInvalid("the base_url of a child process is a loopback address with a port")
    if url.path.strip("/") or url.query or url.fragment:
        raise ConnectorInvalid("the base_url of a child process has no path, query or fragment")
    if not child["command"].strip():
        raise ConnectorInvalid("child_process.command is empty")
    both = sorted(set(child["env"]) & set(child["credential_slots"]))
    if both:
        raise ConnectorInvalid(f"{both[0]} is either in env or in credential_slots")
    wanted = set(child["credential_slots"].values())
    missing = wanted - set(SecretSlot.objects.filter(slot_id__in=wanted).values_list("slot_id", flat=True))
    if missing:
        raise no_slot(sorted(missing)[0], provider=NAME)


def _check_remote(settings: Mapping[str, Any], url: SplitResult) -> None:
    """Refuse a host that is plainly not public; names are resolved and checked again at each request."""
    if settings["child_process"]:
        raise ConnectorInvalid("child_process belongs to mode child_process")
    if url.query or url.fragment:
        raise ConnectorInvalid("base_url has no query and no fragment")
    host = url.hostname or ""
    if not settings["allow_private_network"] and _is_private(host):
        raise ConnectorInvalid(f"{host} is not public; allow_private_network permits it")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower().rstrip(".") == "localhost"


def _is_private(host: str) -> bool:
    try:
        return not is_public(ip_address(host.partition("%")[0]))
    except ValueError:
        name = host.lower().rstrip(".")
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))

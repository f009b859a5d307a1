"""Reply targets, brought from the forms people write into the one normal form ``{"plugin", "address"}``.

The raw form names plugin and address. The tagged forms (``{"type": "slack", "connector": …}``) put the
address' members beside the type. ``daemon`` stays local: the output is kept with the run and sent nowhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from connectors_app.models import Connector
from connectors_app.services import registry
from connectors_app.services.contracts import SharesQueues
from kheish_site.lib.canonical import canonical_json, digest
from kheish_site.lib.errors import BadRequest

LOCAL: Final = "daemon"
SHOWN_DIGITS: Final = 16
Handle = dict[str, Any]


class InvalidReplyTarget(BadRequest):
    """The reply target cannot be read, or cannot work."""

    code, domain = "invalid_reply_target", "reply_targets"


def normal(given: Any) -> Handle:
    """Return the handle in normal form. Raises: InvalidReplyTarget. Needs no database."""
    plugin, address = _parts(given)
    if plugin == LOCAL:
        return {"plugin": LOCAL, "address": _local(address)}
    sender = registry.sender(plugin)
    if sender is None:
        known = ", ".join([LOCAL, *registry.plugins()])
        raise InvalidReplyTarget(f"there is no plugin {plugin!r}; there are: {known}")
    return {"plugin": plugin, "address": sender.normal(address)}


def normal_list(given: Iterable[Any]) -> list[Handle]:
    """Return handles in normal form, each target once, in the order given. Raises: InvalidReplyTarget."""
    found = {canonical_json(handle): handle for handle in map(normal, given)}
    return list(found.values())


def check(handle: Handle) -> None:
    """Refuse a handle in normal form that cannot work now. Raises: InvalidReplyTarget, NotFound."""
    sender = registry.sender(handle["plugin"])
    if sender is not None:
        sender.check(handle["address"])


def goes_through(handle: Mapping[str, Any], connector: Connector) -> bool:
    """Tell whether answers to a handle go through ``connector``."""
    address = handle.get("address")
    named = address.get("connector") if isinstance(address, Mapping) else None
    return handle.get("plugin") == connector.kind and named == connector.name


def queue_of(handle: Mapping[str, Any]) -> Handle:
    """Return the handle that names the queue of ``handle``, often itself; both are in normal form."""
    plugin, address = handle["plugin"], handle["address"]
    sender = registry.sender(plugin)
    if isinstance(sender, SharesQueues):
        address = sender.queue_address(address)
    return {"plugin": plugin, "address": address}


def placement_of(handle: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a handle's address that belong to one message, not to its queue."""
    queue = queue_of(handle)["address"]
    return {name: value for name, value in handle["address"].items() if name not in queue}


def lasting(given: Sequence[Mapping[str, Any]]) -> list[Handle]:
    """Return the handles without what holds for one message only (``ports.LastingTargets``)."""
    queues = {canonical_json(queue): queue for queue in map(queue_of, given)}
    return list(queues.values())


def digest_of(handle: Mapping[str, Any]) -> str:
    """Return the digest of the target that a handle in normal form queues at."""
    return digest(queue_of(handle))


def shown(handle: Mapping[str, Any]) -> str:
    """Return the name of a handle's target; it is made of the digest and reveals nothing of the address."""
    return f"{handle['plugin']}:address_sha256:{digest_of(handle)[:SHOWN_DIGITS]}"


def _parts(given: Any) -> tuple[str, Any]:
    if not isinstance(given, Mapping):
        raise InvalidReplyTarget("a reply target is an object")
    members = dict(given)
    if "type" in members and members["type"] != "raw":
        plugin = members.pop("type")
        return str(plugin), members
    members.pop("type", None)
    if set(members) != {"plugin", "address"} or not isinstance(members["plugin"], str):
        raise InvalidReplyTarget('a reply target is {"plugin": NAME, "address": …}')
    return members["plugin"], members["address"]


def _local(address: Any) -> dict[str, str]:
    session_id = address.get("session_id") if isinstance(address, Mapping) else address
    if not isinstance(session_id, str) or not session_id.strip():
        raise InvalidReplyTarget("the address of daemon is a session id")
    return {"session_id": session_id}

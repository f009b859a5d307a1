"""Which network addresses an agent may reach: those of the public Internet and no others.

The point is what the machine itself can reach and outsiders cannot: its own services, its neighbours, the
metadata service of a cloud. Addresses that carry another address inside are refused whole.
"""

import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from sessions_app.tools.base import ToolFailure

Address = IPv4Address | IPv6Address

_CARRIERS: Final = tuple(
    ip_network(network)
    for network in (
        "::ffff:0:0/96",  # IPv4-mapped
        "::ffff:0:0:0/96",  # IPv4-translated
        "64:ff9b::/96", "64:ff9b:1::/48",  # NAT64
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
        "fec0::/10",  # site-local, deprecated and still routed
    )
)  # fmt: skip
_HOME: Final = tuple(
    ip_network(network)
    for network in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a call may still take: until ``deadline`` (monotonic seconds) or until it is cancelled."""

    deadline: float
    is_cancelled: Callable[[], bool]

    def left_seconds(self) -> float:
        """Return the time left. Raises ToolFailure (timeout, cancelled) when there is none."""
        if self.is_cancelled():
            raise ToolFailure("cancelled", "stopped before it ended")
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise ToolFailure("timeout", "took too long")
        return left


def is_public(address: Address) -> bool:
    """Say whether ``address`` belongs to the public Internet."""
    special = address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified
    return address.is_global and not special and not any(address in network for network in _CARRIERS)


def resolve(host: str, port: int, patience: Patience, *, allow_private: bool) -> list[str]:
    """Return the addresses of ``host``, each of them allowed; they are what must be connected to.

    One forbidden address refuses the name: a name that means this machine now and then is no public
    name. ``allow_private`` admits loopback and private networks, nothing else that is special. Raises
    ToolFailure: ``address_refused``, ``name_not_found``.
    """
    found = _look_up(host, port, patience)
    for text in found:
        address = ip_address(text.partition("%")[0])
        at_home = allow_private and any(address in network for network in _HOME)
        if not is_public(address) and not at_home:
            raise ToolFailure("address_refused", f"{host} is at {address}, which is not public")
    return found


def _look_up(host: str, port: int, patience: Patience) -> list[str]:
    """Ask the resolver, which knows no time limit of its own, from a thread that may be left behind."""
    answers: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answers.put(list(dict.fromkeys(str(entry[4][0]) for entry in found)))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    while True:
        try:
            answer = answers.get(timeout=min(patience.left_seconds(), 0.25))
            break
        except queue.Empty:
            continue
    if isinstance(answer, Exception) or not answer:
        raise ToolFailure("name_not_found", f"{host}: no such host") from None
    return answer

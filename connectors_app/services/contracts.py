"""What a kind of connector is, and the neutral shapes between kinds and services.

A kind lives in one folder of ``kinds``: its settings, how it reads an event, how it sends. It only
translates; services decide whether an event is accepted, where it goes and when something is sent again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from connectors_app.models import Connector
from kheish_site.lib.errors import BadRequest

if TYPE_CHECKING:  # a process that only drives sessions starts without it
    from rest_framework import serializers

Address = dict[str, Any]
"""Where a kind sends to, in the kind's own normal form; JSON-safe."""


@dataclass(frozen=True, kw_only=True)
class InboundEvent:
    """One event of a platform; it becomes exactly one run.

    ``key`` names it within its connector, and ``fingerprint`` is a digest of its content (64 hex): a repeat
    has both the same. ``receipt_key`` names its receipt where ``key`` may name another event later. It has
    either ``content`` (with ``attachments``) or ``input_items``. Its session is the first there is of: the
    connector's ``fixed_session_id``, ``named_session_id`` (from the caller), the session bound to one of
    ``binding_keys``, ``natural_session_id``. ``reply_targets`` (``{"plugin", "address"}``) are
    explicit: empty means the session's defaults. ``metadata`` is the daemon's own and stored as it is.
    """

    key: str
    fingerprint: str
    actor_id: str
    source_kind: str
    content: str = ""
    input_items: tuple[dict[str, Any], ...] = ()
    attachments: tuple[dict[str, Any], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    named_session_id: str = ""
    binding_keys: tuple[str, ...] = ()
    natural_session_id: str = ""
    reply_targets: tuple[dict[str, Any], ...] = ()
    rate_scope: str = ""
    receipt_key: str = ""

    @property
    def known_as(self) -> str:
        """The key of its receipt."""
        return self.receipt_key or self.key


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """A stored asset sent with a message; ``read`` returns its bytes."""

    asset_id: str
    media_type: str
    file_name: str
    sha256: str
    size_bytes: int
    read: Callable[[], bytes] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Button:
    """Something a person can press. ``data`` (at most 64 bytes of ASCII) comes back with the click."""

    label: str
    data: str
    style: str = ""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """What a sender is given: one message for one address, at one attempt.

    ``progress`` is what ``keep`` was last given for this delivery, so that parts a platform has confirmed
    are not sent again; a replay of the message starts from it too, without the member ``begun``.
    ``keep`` commits at once; it raises when the delivery is no longer ours.
    ``buttons`` decide what the message asks (an approval, a question). ``literal``: show the content
    character by character, without markup; notices that people decide on are literal.
    """

    delivery_id: str
    attempt: int
    idempotency_key: str
    address: Address
    session_id: str
    thread_id: str
    run_id: str
    content: str
    literal: bool = False
    parts: tuple[dict[str, Any], ...] = ()
    attachments: tuple[Attachment, ...] = ()
    buttons: tuple[tuple[Button, ...], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    progress: Mapping[str, Any] = field(default_factory=dict)
    keep: Callable[[dict[str, Any]], None] = field(default=lambda progress: None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The target took it. ``reference`` is the platform's id for it; both fields are JSON-safe and shown."""

    reference: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)


class SendFailure(Exception):
    """The send failed. ``error_class`` is one of ERROR_CLASSES; the message is safe to show."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.message = message


class RetryLater(SendFailure):
    """Certainly not taken; it may be later, not before ``retry_after_seconds``."""

    def __init__(self, error_class: str, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(error_class, message)
        self.retry_after_seconds = retry_after_seconds


class Refused(SendFailure):
    """Certainly not taken, and it never will be as it is."""


class Ambiguous(SendFailure):
    """The request left and nobody knows whether it was taken.

    Sent again only where the target honours keys; elsewhere the delivery is ``unknown`` and a person decides.
    """


ERROR_CLASSES = (
    "terminal", "blocked_external_fetch", "rate_limited", "timeout", "status", "decode", "connect",
    "internal",
)  # fmt: skip


class Sender(Protocol):
    """How one plugin of reply targets sends. Stateless; no transaction is open and no connection is held."""

    plugin: str

    def normal(self, address: Any) -> Address:
        """Return the address in the form that names its target. Raises: BadRequest(invalid_reply_target)."""
        ...

    def check(self, address: Address) -> None:
        """Refuse an address that cannot work now: no such connector, no credential, not allowed.

        Needs the database. Raises: BadRequest(invalid_reply_target), NotFound(connector_not_found).
        """
        ...

    def honours_keys(self, address: Address) -> bool:
        """Tell whether the target recognises a repeat by its key, so that sending again is safe."""
        ...

    def send(self, parcel: Parcel) -> Sent:
        """Send once. Raises: RetryLater, Refused, Ambiguous."""
        ...


@runtime_checkable
class SharesQueues(Protocol):
    """A sender whose addresses also hold details of one message, such as what it replies to.

    The messages of one queue leave in order and wait together. The other members of an address are stored
    with its message as they are, so they must hold no secret.
    """

    def queue_address(self, address: Address) -> Address:
        """Return the members of an address in normal form that name its queue; normal as well."""
        ...


class ConnectorInvalid(BadRequest):
    """The definition breaks a rule of its kind; the detail says which."""

    code, domain = "invalid_connector", "connectors"


def no_slot(slot_id: str, *, provider: str) -> ConnectorInvalid:
    """Return the refusal of a definition that names a missing secret slot; it says how to make one."""
    if not slot_id.strip():
        return ConnectorInvalid("the name of a secret slot is empty")
    return ConnectorInvalid(
        f"there is no secret slot {slot_id}; make it first: secrets set {slot_id} --provider {provider}"
    )


class Kind(Protocol):
    """One transport. ``settings`` describes what an operator writes; ``secrets`` names its secret fields."""

    name: ClassVar[str]
    settings: "ClassVar[type[serializers.Serializer]]"
    secrets: ClassVar[tuple[str, ...]]

    def check(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        """Judge the whole definition; ``secrets`` are the fields that have a value.

        Raises: ConnectorInvalid with the reason.
        """
        ...

    def is_open(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> bool:
        """Tell whether anybody may send events, because nothing configured proves who sent them."""
        ...

    def test_event(self, connector: Connector) -> InboundEvent:
        """Return an event as this transport would bring it, to test the connector without the platform."""
        ...


@runtime_checkable
class ReadsTrials(Protocol):
    """A kind that can be tested with an event that a person wrote."""

    def trial(self, connector: Connector, body: Any) -> InboundEvent:
        """Read ``body`` as an event of a trusted sender. Raises what reading a real event raises."""
        ...


@runtime_checkable
class KnowsTrouble(Protocol):
    """A kind that can tell more about whether a connector works than its definition shows."""

    def trouble(self, rows: Sequence[Connector]) -> Mapping[int, str]:
        """Return what keeps connectors of this kind from working, by their primary keys; one query."""
        ...


@runtime_checkable
class NamesSlots(Protocol):
    """A kind whose settings name secret slots beside its secret fields, such as one for each team."""

    def slots_of(self, settings: Mapping[str, Any]) -> list[str]:
        """Return the names of these slots."""
        ...


@runtime_checkable
class KeepsValues(Protocol):
    """A kind with settings that are written but never read back: only their names are shown."""

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings with each hidden value replaced by its name."""
        ...

    def kept(self, settings: Mapping[str, Any]) -> dict[str, str]:
        """Return the hidden values, by the names shown for them."""
        ...

    def completed(self, given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``given`` with the stored values that it only names or leaves out.

        So settings as ``shown`` can be written back. Raises: ConnectorInvalid.
        """
        ...

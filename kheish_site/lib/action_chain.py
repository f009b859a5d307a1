"""The signed chain of external actions: how a record is made, and how an export is checked. No Django here.

A record's ``record_hash`` is the SHA-256 of the canonical JSON (RFC 8785) of ``UNSIGNED``, which holds the
hash of the record before it (64 zeros for the first). Its Ed25519 signature covers the canonical JSON of
everything but ``signature``. An export is one canonical record a line and then one signed checkpoint, which
says how many there are; so a line cannot be changed, moved, taken out or cut off unseen.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kheish_site.lib.canonical import canonical_json, digest

GENESIS: Final = "0" * 64
ALGORITHM: Final = "ed25519"
VERSION: Final = 1
LONGEST_LINE_BYTES: Final = 256 * 1024
MOST_PROBLEMS: Final = 100

UNSIGNED: Final = (
    "version", "bucket", "seq", "at", "session_id", "run_id", "tool_call_id", "delivery_id", "principal_id",
    "grant_id", "phase", "kind", "target", "request_digest", "response_digest", "outcome", "prev_hash",
)  # fmt: skip
"""What ``record_hash`` covers; all text but ``version`` and ``seq``."""
SEAL: Final = ("signature_alg", "key_id", "signature")
RECORD: Final = frozenset({*UNSIGNED, "action_id", "record_hash", *SEAL})
CHECKPOINT: Final = frozenset(
    {"type", "version", "bucket", "count", "first_seq", "last_seq", "head", "at", *SEAL}
)
_NUMBERS: Final = frozenset({"version", "seq", "count", "first_seq", "last_seq"})
_SIGNATURE: Final = re.compile(r"[0-9a-f]{128}")
_KEY_ID: Final = re.compile(r"[0-9a-f]{64}")

Document = dict[str, Any]


class Signer:
    """The signing key of an installation: ``text`` is its 32 raw bytes in base64. Raises: ValueError."""

    def __init__(self, text: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(decoded_key(text))

    @cached_property
    def key_id(self) -> str:
        """The public key in hex, which names the key and is all that a verifier needs."""
        return self._key.public_key().public_bytes_raw().hex()

    def sealed(self, document: Mapping[str, Any]) -> Document:
        """Return ``document`` with its signature and who made it."""
        named = {**document, "signature_alg": ALGORITHM, "key_id": self.key_id}
        return {**named, "signature": self._key.sign(canonical_json(named).encode()).hex()}


def decoded_key(text: str) -> bytes:
    """Return the 32 bytes of a key in base64, of either alphabet. Raises: ValueError."""
    raw = base64.b64decode(text.strip().translate(str.maketrans("-_", "+/")).encode("ascii"), validate=True)
    if len(raw) != 32:
        raise ValueError("the key is not 32 bytes")
    return raw


def sealed_record(unsigned: Mapping[str, Any], signer: Signer) -> Document:
    """Return the whole record of ``unsigned``, whose members are those of ``UNSIGNED``."""
    record_hash = digest(unsigned)
    return signer.sealed({**unsigned, "action_id": record_hash, "record_hash": record_hash})


def checkpoint(*, bucket: str, count: int, head: str, at: str) -> Document:
    """Return the unsigned checkpoint of a chain of ``count`` records that ends in ``head``."""
    return {
        "type": "checkpoint",
        "version": VERSION,
        "bucket": bucket,
        "count": count,
        "first_seq": min(count, 1),
        "last_seq": count,
        "head": head,
        "at": at,
    }


def line(document: Mapping[str, Any]) -> str:
    """Return ``document`` as one line of an export."""
    return canonical_json(document) + "\n"


def is_signed(document: Mapping[str, Any], public_key: str) -> bool:
    """Tell whether the holder of ``public_key`` (hex) signed exactly this."""
    signature = document.get("signature")
    if document.get("signature_alg") != ALGORITHM or document.get("key_id") != public_key:
        return False
    if not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        return False
    if not _KEY_ID.fullmatch(public_key):
        return False
    signed = {name: value for name, value in document.items() if name != "signature"}
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(bytes.fromhex(signature), canonical_json(signed).encode())
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, and the number of the line where it shows (from 1)."""

    line: int
    problem: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What checking an export found. ``head`` is the hash its records end in."""

    bucket: str
    records: int
    head: str
    public_key: str
    problems: tuple[Problem, ...]

    @property
    def valid(self) -> bool:
        """True when the export is, to the byte, what the holder of the key signed."""
        return not self.problems


def verify(lines: Iterable[bytes], public_key: str) -> Verdict:
    """Check an export, line by line with their ends, against a public key in hex.

    Raises: ValueError when ``public_key`` is not one. Problems are found up to ``MOST_PROBLEMS``.
    """
    if not _KEY_ID.fullmatch(public_key):
        raise ValueError("a public key is 64 characters of lower-case hex")
    found = _Check(public_key)
    problems: list[Problem] = []
    number = 0
    for number, raw in enumerate(lines, start=1):
        problems += [Problem(line=number, problem=text) for text in found.line(raw)]
        if len(problems) >= MOST_PROBLEMS:
            break
    if not found.ended:
        problems.append(Problem(line=number + 1, problem="the checkpoint is missing: the end was cut off"))
    return Verdict(
        bucket=found.bucket, records=found.records, head=found.head, public_key=public_key,
        problems=tuple(problems[:MOST_PROBLEMS]),
    )  # fmt: skip


@dataclass(kw_only=False)
class _Check:
    """Where checking stands; after a bad record it goes on from what that record says of itself."""

    public_key: str
    bucket: str = ""
    records: int = 0
    seq: int = 0
    head: str = GENESIS
    ended: bool = False
    known: bool = field(default=False, repr=False)

    def line(self, raw: bytes) -> Iterator[str]:
        """Yield what is wrong with the next line."""
        if self.ended:
            yield "a line after the checkpoint"
            return
        try:
            document = read_line(raw)
        except ValueError as error:
            self.records += 1
            self.seq += 1
            yield str(error)
            return
        yield from self._checkpoint(document) if "type" in document else self._record(document)

    def _record(self, record: Document) -> Iterator[str]:
        self.records += 1
        problem = _shape(record, RECORD) or self._signed(record) or _hash(record) or self._place(record)
        if problem:
            yield problem
        seq, head = record.get("seq"), record.get("record_hash")
        self.seq = seq if isinstance(seq, int) else self.seq + 1
        self.head = head if isinstance(head, str) else ""

    def _checkpoint(self, found: Document) -> Iterator[str]:
        self.ended = True
        problem = _shape(found, CHECKPOINT) or self._signed(found) or self._of_bucket(found)
        if problem:
            yield problem
            return
        wanted = checkpoint(bucket=found["bucket"], count=self.records, head=self.head, at=found["at"])
        if found["count"] != self.records:
            yield f"the checkpoint was signed over {found['count']} records, here are {self.records}"
        elif any(found[name] != value for name, value in wanted.items()):
            yield "the records do not end where the checkpoint says"

    def _signed(self, document: Document) -> str:
        if document["key_id"] != self.public_key:
            return "signed by another key"
        return "" if is_signed(document, self.public_key) else "the signature is not that of this line"

    def _of_bucket(self, document: Document) -> str:
        if not self.known:
            self.bucket, self.known = document["bucket"], True
        return "" if document["bucket"] == self.bucket else "it belongs to another chain"

    def _place(self, record: Document) -> str:
        if problem := self._of_bucket(record):
            return problem
        if record["seq"] != self.seq + 1:
            return f"record {self.seq + 1} should stand here, not {record['seq']}"
        return "" if record["prev_hash"] == self.head else "it does not follow the record before"


def read_line(raw: bytes) -> Document:
    """Return the object of a line that is canonical to the byte. Raises: ValueError saying why it is not."""
    if not raw.endswith(b"\n"):
        raise ValueError("the line has no end: it was cut off" if raw else "the line is empty")
    try:
        found = json.loads(raw.decode(), parse_constant=_no_constant)
        exact = isinstance(found, dict) and line(found).encode() == raw
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("the line is not JSON") from error
    if not exact:
        raise ValueError("the line is not canonical JSON: it was changed")
    return dict(found)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _shape(document: Document, names: frozenset[str]) -> str:
    if document.keys() != names:
        return "members are missing or added"
    if any(type(value) is not (int if name in _NUMBERS else str) for name, value in document.items()):
        return "a member has another type"
    return "" if document["version"] == VERSION else f"version {document['version']} is not known here"


def _hash(record: Document) -> str:
    wanted = digest({name: record[name] for name in UNSIGNED})
    return "" if record["record_hash"] == record["action_id"] == wanted else "the record was changed"

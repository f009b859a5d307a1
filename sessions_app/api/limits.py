"""How much one request may say, each limit with its own stable code."""

from typing import Any, Final

from kheish_site.lib.canonical import canonical_json
from kheish_site.lib.errors import BadRequest, PayloadTooLarge

LARGEST_METADATA_BYTES: Final = 16_384
DEEPEST_METADATA: Final = 8
LARGEST_SETTING_BYTES: Final = 65_536
"""Bytes of one structured session setting, such as its permission rules."""


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raise BadRequest(metadata_too_deep) or PayloadTooLarge(metadata_too_large)."""
    if _depth(metadata) > DEEPEST_METADATA:
        raise BadRequest(
            f"metadata is nested deeper than {DEEPEST_METADATA}", code="metadata_too_deep", domain="runs"
        )
    size = size_bytes(metadata)
    if size > LARGEST_METADATA_BYTES:
        raise PayloadTooLarge(
            f"metadata has {size} bytes; {LARGEST_METADATA_BYTES} are accepted",
            code="metadata_too_large",
            domain="runs",
        )


def check_setting(name: str, value: Any) -> None:
    """Raise PayloadTooLarge(setting_too_large)."""
    if size_bytes(value) > LARGEST_SETTING_BYTES:
        raise PayloadTooLarge(
            f"{name} is larger than {LARGEST_SETTING_BYTES} bytes",
            code="setting_too_large",
            domain="sessions",
        )


def size_bytes(value: Any) -> int:
    """Return the size of a JSON value in its canonical form."""
    return len(canonical_json(value).encode())


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level := [inner for node in level for inner in _inner(node)]:
        depth += 1
    return depth


def _inner(node: Any) -> list[Any]:
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [value for value in values if isinstance(value, dict | list)]

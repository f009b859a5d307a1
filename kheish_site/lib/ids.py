"""Public ids: a prefix and a ULID, so that they sort by birth and say what they name."""

import re
from typing import Final

from ulid import ULID

_PUBLIC_ID: Final = re.compile(r"^[a-z]+_[0-9A-HJKMNP-TV-Z]{26}$")


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``run_01J9Z3…`` (prefix, underscore, 26 characters)."""
    return f"{prefix}_{ULID()}"


def is_public_id(text: str) -> bool:
    """Tell whether ``text`` has the shape ``new_id`` gives."""
    return bool(_PUBLIC_ID.match(text))

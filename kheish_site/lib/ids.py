"""Public ids: a prefix and a ULID, so that they sort by birth and say what they name."""

from ulid import ULID


def new_id(prefix: str) -> str:
    """Return a fresh id such as ``run_01J9Z3…`` (prefix, underscore, 26 characters)."""
    return f"{prefix}_{ULID()}"

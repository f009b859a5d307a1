"""The rule of edits: whoever changes a row must have seen the revision that is current."""

from kheish_site.lib.errors import PreconditionFailed


def check(revision: int, expected: frozenset[int] | None) -> None:
    """Raise PreconditionFailed unless the row's ``revision`` is among the expected ones; None expects any."""
    if expected is not None and revision not in expected:
        raise PreconditionFailed(f"revision {revision} is current", current_revision=revision)

"""Time as the product shows it: aware UTC, RFC 3339 with ``Z`` and milliseconds.

Lease life is measured by the database's clock instead (``services/writes``).
"""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the current time, aware, in UTC."""
    return datetime.now(UTC)


def moment() -> datetime:
    """Return the current time cut to the milliseconds that ``rfc3339`` shows: what is hashed or signed."""
    exact = now()
    return exact.replace(microsecond=exact.microsecond // 1000 * 1000)


def rfc3339(moment: datetime | None) -> str | None:
    """Return ``moment`` as ``2026-11-21T10:07:26.123Z``; ``None`` stays ``None``."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

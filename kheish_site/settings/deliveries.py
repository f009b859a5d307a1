"""``settings.KHEISH.deliveries``: how outbound deliveries are sent, and sent again."""

from dataclasses import dataclass

from kheish_site.settings import env

_HOUR_MS = 3_600_000


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """The pace of deliveries (docs/connectors.md, "Deliveries")."""

    threads: int
    """Targets one worker process sends to at once; they mostly wait for the network."""
    timeout_seconds: float
    """How long one request to a target may take."""
    initial_retry_ms: int
    """Wait after the first failure that may pass; doubled with each attempt."""
    max_retry_ms: int
    """Longest wait between two attempts, unless the target asks for more."""
    max_retry_after_ms: int
    """Longest wait a target may ask for."""
    max_attempts: int
    """Attempts before a delivery is dead-lettered."""
    target_min_interval_ms: int
    """Least time between two attempts at one target."""
    circuit_failure_threshold: int
    """Failures in a row after which a target is left alone for a while; 0 never does."""
    circuit_cooldown_ms: int
    """How long it is left alone."""
    keep_days: float
    """How long a settled delivery is kept; 0 is for ever."""


def load() -> Deliveries:
    """Read the environment. Raises ImproperlyConfigured naming the variable at fault."""
    return Deliveries(
        threads=env.integer("KHEISH_DELIVERY_THREADS", 64, low=1, high=500),
        timeout_seconds=env.number("KHEISH_DELIVERY_TIMEOUT_SECONDS", 20, low=0.1, high=600),
        initial_retry_ms=env.integer("KHEISH_DELIVERY_INITIAL_RETRY_MS", 1000, low=1, high=_HOUR_MS),
        max_retry_ms=env.integer("KHEISH_DELIVERY_MAX_RETRY_MS", 60_000, low=1, high=24 * _HOUR_MS),
        max_retry_after_ms=env.integer(
            "KHEISH_DELIVERY_MAX_RETRY_AFTER_MS", _HOUR_MS, low=1, high=24 * _HOUR_MS
        ),
        max_attempts=env.integer("KHEISH_DELIVERY_MAX_ATTEMPTS", 8, low=1, high=1000),
        target_min_interval_ms=env.integer("KHEISH_DELIVERY_TARGET_MIN_INTERVAL_MS", 0, low=0, high=_HOUR_MS),
        circuit_failure_threshold=env.integer(
            "KHEISH_DELIVERY_CIRCUIT_FAILURE_THRESHOLD", 3, low=0, high=1000
        ),
        circuit_cooldown_ms=env.integer(
            "KHEISH_DELIVERY_CIRCUIT_COOLDOWN_MS", 60_000, low=1, high=24 * _HOUR_MS
        ),
        keep_days=env.number("KHEISH_KEEP_DELIVERIES_DAYS", 30, low=0, high=36_500),
    )

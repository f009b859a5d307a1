"""System checks: combinations of settings that cannot work stop every command with the reason."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from kheish_site.lib import origins
from kheish_site.settings.runtime import Kheish


@register()
def combinations(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Refuse what :func:`impossible` finds in ``settings.KHEISH``."""
    return list(impossible(settings.KHEISH))


def impossible(kheish: Kheish) -> Iterable[CheckMessage]:
    """One error for each combination that would lose work or never start it."""
    if kheish.redis_url and not kheish.database_url:
        yield Error(
            "KHEISH_REDIS_URL is set without KHEISH_DATABASE_URL.",
            hint="SQLite serves one worker process; set a PostgreSQL URL, or unset both.",
            id="kheish.E001",
        )
    if kheish.database_url and not kheish.redis_url:
        yield Error(
            "KHEISH_DATABASE_URL is set without KHEISH_REDIS_URL.",
            hint="Processes on PostgreSQL wake each other through Redis; set its URL, or unset both.",
            id="kheish.E002",
        )
    for name, count in (("WEB", kheish.web_processes), ("WORKER", kheish.worker_processes)):
        if count > 1 and not kheish.redis_url:
            yield Error(
                f"KHEISH_{name}_PROCESSES is more than 1 without Redis.",
                hint="SQLite has one web and one worker process; use PostgreSQL and Redis for more.",
                id="kheish.E003",
            )
    if kheish.routes_file is not None and not kheish.routes_file.is_file():
        yield Error(f"KHEISH_ROUTES_FILE names {kheish.routes_file}, which is not a file.", id="kheish.E004")
    if kheish.connectors_file is not None and not kheish.connectors_file.is_file():
        yield Error(
            f"KHEISH_CONNECTORS_FILE names {kheish.connectors_file}, which is not a file.", id="kheish.E006"
        )
    for text in kheish.cors_origins:
        page = origins.read(text)
        if page is None or not origins.is_loopback(page):
            yield Error(
                f"KHEISH_CORS_ORIGINS names {text!r}.",
                hint="Each is a loopback origin, scheme, host and port without a path: http://localhost:3000.",
                id="kheish.E007",
            )
    if kheish.sweep_seconds > kheish.lease_seconds:
        yield Error(
            "KHEISH_SWEEP_SECONDS is longer than KHEISH_LEASE_SECONDS.",
            hint="A dead worker's runs would wait longer than the lease promises.",
            id="kheish.E005",
        )


@register(deploy=True)
def keys_shared(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """With several machines, keys made on one of them are unknown to the others."""
    if settings.KHEISH.embedded or not settings.KHEISH.master_key_file.is_file():
        return []
    return [
        Warning(
            "The master key is a file of this machine.",
            hint="Give every process the same KHEISH_MASTER_KEY and KHEISH_SECRET_KEY.",
            id="kheish.W001",
        )
    ]

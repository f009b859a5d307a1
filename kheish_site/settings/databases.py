"""The database of each profile, with the options that were measured to hold up."""

import sys
from typing import Any

import environ

from kheish_site.lib.sqlite_log import FAR_BEHIND_PAGES
from kheish_site.settings.runtime import Kheish

SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA foreign_keys=ON;"
    f"PRAGMA wal_autocheckpoint={FAR_BEHIND_PAGES};"
)

# A client that froze inside a transaction would hold its session's row until its connection breaks.
# A prepared statement is planned once: left alone, PostgreSQL plans the stream of everything anew at each
# ring, because a plan for the given place looks cheaper by more than it believes that planning costs.
POSTGRESQL_SETTINGS = (
    "-c lock_timeout=10s -c idle_in_transaction_session_timeout=60s -c plan_cache_mode=force_generic_plan"
)

PREPARED_FROM = 2
"""Times a connection has seen a statement of the hot path before the server keeps it prepared."""


def databases(kheish: Kheish) -> dict[str, dict[str, Any]]:
    """Django's ``DATABASES``. With SQLite nothing of PostgreSQL is loaded from here on."""
    if kheish.database_url:
        return {"default": _postgresql(kheish)}
    _leave_out_postgresql()
    return {"default": _sqlite(kheish)}


def _leave_out_postgresql() -> None:
    """REST framework asks for these and can do without; they load the driver, a twelfth of a start."""
    modules: dict[str, Any] = sys.modules
    modules.setdefault("django.contrib.postgres.fields", None)


def _sqlite(kheish: Kheish) -> dict[str, Any]:
    # IMMEDIATE: a deferred transaction that reads and then writes fails at once, without the timeout.
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": kheish.state_dir / "kheish.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": SQLITE_PRAGMAS, "timeout": 20},
        "CONN_MAX_AGE": None,  # an idle handle holds nothing, and opening one takes a millisecond
    }


def _postgresql(kheish: Kheish) -> dict[str, Any]:
    # A pool and never CONN_MAX_AGE: under ASGI and the threads pool a connection belongs to a thread
    # that may not come back for it. Who gets none in 5 s is told so (503) rather than kept waiting.
    config: dict[str, Any] = environ.Env.db_url_config(kheish.database_url)
    options = config.setdefault("OPTIONS", {})
    most = kheish.database_connections or kheish.worker_threads + 8
    options["pool"] = {"min_size": 1, "max_size": most, "timeout": 5}
    options["prepare_threshold"] = PREPARED_FROM if kheish.prepared_statements else None
    options.setdefault("connect_timeout", 5)
    options.setdefault("options", POSTGRESQL_SETTINGS)
    engine = "kheish_site.postgresql"
    return config | {"ENGINE": engine, "CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": True}

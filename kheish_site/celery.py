"""The Celery application, and what a worker process does beside running tasks.

``kheish_site.worker`` starts it, and so does ``celery -A kheish_site.celery worker -P threads``. The driver
of runs (sweep, heartbeat, wake-ups) lives in ``sessions_app.services.worker``; it is started once the worker
can take tasks and told to claim nothing more as soon as the worker is asked to leave.
"""

import logging
import os
from importlib import import_module
from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import DatabaseError

from kheish_site.lib import collector
from kheish_site.lib.errors import KheishError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "kheish_site.settings")
# A worker would run Django's system checks and drop what they say. They load every page of the console and
# every view of the API, a third of a worker's start; `manage.py prepare` has run them.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

logger = logging.getLogger(__name__)
EXIT_OTHER_KEY = os.EX_CONFIG
"""How a worker ends at its start that holds another audit key than the records were signed with (78)."""
DRIVER = "sessions_app.services.worker"
TASKS = "sessions_app.tasks"

app = Celery("kheish")
app.config_from_object("django.conf:settings", namespace="CELERY")


@setup_logging.connect
def keep_logging(**kwargs: Any) -> None:
    """Celery would set the root logger's level from its own option; ``KHEISH_LOG_LEVEL`` has said it."""


@worker_ready.connect
def start_driving(sender: Any, **kwargs: Any) -> None:
    """Start claiming sessions, then say so: ``serve`` waits for the mark.

    ``sender`` is Celery's consumer; due sessions go straight to its pool, without a message.
    """
    # Imported here and below: models can be imported only once Celery has set Django up.
    from kheish_site.health import require_prepared

    try:
        require_prepared()
        drive = import_module(TASKS).drive
        import_module(DRIVER).start(
            lambda session_pk: sender.pool.apply_async(drive, (session_pk,), callback=_nothing_left_to_do)
        )
    except KheishError as error:
        logger.error("the worker does not start: %s", error.detail, extra={"action": "worker.start"})
        raise SystemExit(EXIT_OTHER_KEY if error.code == "audit_key_missing" else 1) from None
    except DatabaseError as error:  # away, full, or of another version
        logger.error("the worker does not start: %s", error, extra={"action": "worker.start"})
        raise SystemExit(1) from None
    except Exception as error:
        # Celery would log it and go on, as a worker that takes messages and renews no lease.
        logger.exception("the worker could not start", extra={"action": "worker.start"})
        raise SystemExit(1) from error
    settings.KHEISH.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    (settings.KHEISH.state_dir / "worker.ready").touch()
    collector.settle()


@worker_shutting_down.connect
def stop_claiming(**kwargs: Any) -> None:
    """SIGTERM arrived: finish the steps in flight and claim nothing more."""
    import_module(DRIVER).begin_drain()


@worker_shutdown.connect
def stop_driving(**kwargs: Any) -> None:
    """The pool is empty: release what is still held."""
    import_module(DRIVER).stop()


def _nothing_left_to_do(result: None) -> None:
    """Celery's pools tell somebody when a call has returned."""

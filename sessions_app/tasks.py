"""The Celery tasks: they take ids, may run twice, and lose nothing when they are lost."""

import logging

from celery import shared_task
from django.db import Error as DatabaseError
from django.db import close_old_connections

from kheish_site.lib.transactions import leave_connection
from sessions_app.engine import loop
from sessions_app.services import worker

logger = logging.getLogger(__name__)


@shared_task(name="kheish.execute", ignore_result=True)
def execute(session_pk: int) -> None:
    """Drive one session. A doorbell: the session's row says whether there is anything to do."""
    drive(session_pk)


def drive(session_pk: int) -> None:
    """Drive one session in this thread of a worker's pool.

    A database that is away is no failure of any run: the lease runs out and the sweep comes back.
    """
    process = worker.current()
    process.begun(session_pk)
    try:
        close_old_connections()
        loop.drive(session_pk, process.heartbeat)
    except DatabaseError:
        logger.warning("the database did not answer", exc_info=True, extra={"action": "drive"})
    except Exception:  # the thread's edge: a pool keeps what its work raised to itself
        logger.exception("a session was not driven", extra={"action": "drive", "session": session_pk})
    finally:
        leave_connection()

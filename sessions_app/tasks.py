"""The Celery tasks: they take ids, may run twice, and lose nothing when they are lost."""

import logging

from celery import shared_task
from django.db import Error as DatabaseError

from sessions_app.engine import loop
from sessions_app.services import worker

logger = logging.getLogger(__name__)


@shared_task(name="kheish.execute", ignore_result=True)
def execute(session_pk: int) -> None:
    """Drive one session. A doorbell: the session's row says whether there is anything to do.

    A database that is away is no failure of any run: the lease runs out and the sweep comes back.
    """
    process = worker.current()
    process.begun(session_pk)
    try:
        loop.drive(session_pk, process.heartbeat)
    except DatabaseError:
        logger.warning("the database did not answer", exc_info=True, extra={"action": "drive"})

"""What the pool of a Celery worker does: it takes an id, may run twice, and loses nothing when it is lost."""

import logging

from django.db import Error as DatabaseError
from django.db import close_old_connections

from kheish_site.lib.transactions import AWAY, leave_connection
from sessions_app.engine import loop
from sessions_app.services import worker

logger = logging.getLogger(__name__)


def drive(session_pk: int) -> None:
    """Drive one session in this thread. A doorbell: the session's row says whether there is anything to do.

    A database that is away is no failure of any run: the lease runs out and the sweep comes back. Any other
    failure may come again at once: the session rests, so that others get their turn.
    """
    process, in_vain = worker.current(), False
    try:
        close_old_connections()
        in_vain = not loop.drive(session_pk, process.heartbeat)
    except DatabaseError as error:
        in_vain = not isinstance(error, AWAY)
        logger.warning("the database did not answer", exc_info=True, extra={"action": "drive"})
    except Exception:  # the thread's edge: a pool keeps what its work raised to itself
        in_vain = True
        logger.exception("a session was not driven", extra={"action": "drive", "session": session_pk})
    finally:
        leave_connection()
        process.done(session_pk, in_vain=in_vain)

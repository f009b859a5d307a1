"""Reading the ledger of external actions: by run, session and chain, also of rows that are gone."""

from django.db.models import QuerySet

from kheish_site.lib.errors import NotFound
from sessions_app.models import ActionChain, ExternalAction
from sessions_app.services import external_actions, runs, sessions


class BucketMissing(NotFound):
    """There is no such chain."""

    code, domain = "audit_bucket_not_found", "audit"


def of_run(run_id: str) -> QuerySet[ExternalAction]:
    """Return the records of a run, also of one that retention took. Raises: RunMissing."""
    rows = ExternalAction.objects.filter(run_id=run_id)
    if not rows.exists():
        runs.get(run_id)
    return rows


def of_session(session_id: str) -> QuerySet[ExternalAction]:
    """Return the records of a session, also of one that retention took. Raises: SessionMissing."""
    bucket = external_actions.bucket_of(session_id)
    if not ActionChain.objects.filter(bucket=bucket).exists():
        sessions.get(session_id)
    return ExternalAction.objects.filter(bucket=bucket)


def check_bucket(bucket: str) -> None:
    """Raise BucketMissing unless the chain has begun; ``unscoped`` always is."""
    if bucket != external_actions.UNSCOPED and not ActionChain.objects.filter(bucket=bucket).exists():
        raise BucketMissing("there is no such chain of records")

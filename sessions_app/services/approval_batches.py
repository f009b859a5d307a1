"""Several approvals of one session decided together or not at all."""

from collections.abc import Sequence
from typing import Final

from kheish_site.lib.errors import BadRequest
from kheish_site.lib.transactions import write
from sessions_app.models import Approval, ApprovalStatus, Run, RunStatus
from sessions_app.services import approvals, runs, sessions
from sessions_app.services.approvals import ApprovalConflict, Vote
from sessions_app.services.principal import Principal

_DOMAIN: Final = "approvals"
Named = tuple[str, Vote]


def resolve_for_run(run_id: str, votes: Sequence[Named], *, principal: Principal) -> Run:
    """Count the votes on what ``run_id`` waits for, in one transaction.

    Raises: RunMissing, ApprovalConflict (the run waits for no approval), BadRequest
    (approval_batch_empty, approval_duplicate_resolution, approval_request_not_pending), NotAllowedToVote.
    """
    _check_shape(votes)
    run = runs.get(run_id)
    with write():
        sessions.lock(run.session_id)
        run.refresh_from_db(fields=["status"])
        if run.status != RunStatus.WAITING_FOR_APPROVAL:
            raise ApprovalConflict(f"the run is {run.status}", run_id=run_id, run_status=run.status)
        _check_pending(run, votes)
        for approval_id, vote in votes:
            approvals.resolve(approval_id, vote, principal=principal)
    return runs.get(run_id)


def resolve_for_session(session_id: str, votes: Sequence[Named], *, principal: Principal) -> Run:
    """Like ``resolve_for_run`` for the run that waits in the session. Raises: SessionMissing besides."""
    _check_shape(votes)
    session = sessions.get(session_id)
    waiting = session.runs.filter(status=RunStatus.WAITING_FOR_APPROVAL).first()
    if waiting is None:
        raise ApprovalConflict("no run of the session waits for an approval", session_id=session_id)
    return resolve_for_run(waiting.run_id, votes, principal=principal)


def _check_shape(votes: Sequence[Named]) -> None:
    if not votes:
        raise BadRequest("the batch is empty", code="approval_batch_empty", domain=_DOMAIN)
    ids = [approval_id for approval_id, _ in votes]
    twice = sorted({approval_id for approval_id in ids if ids.count(approval_id) > 1})
    if twice:
        raise BadRequest(
            f"decided twice: {', '.join(twice)}", code="approval_duplicate_resolution", domain=_DOMAIN
        )


def _check_pending(run: Run, votes: Sequence[Named]) -> None:
    open_ids = Approval.objects.filter(run=run, status=ApprovalStatus.PENDING)
    pending = set(open_ids.values_list("approval_id", flat=True))
    unknown = [approval_id for approval_id, _ in votes if approval_id not in pending]
    if unknown:
        raise BadRequest(
            f"not pending in this run: {', '.join(unknown)}",
            code="approval_request_not_pending",
            domain=_DOMAIN,
            approval_ids=unknown,
        )

"""Approvals: asked together, voted on, settled once, bound to the digest of the exact call.

HTTP, console, command line and chat all call ``resolve``. Source: docs/guarantees.md, "approval", "deciding".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.conf import settings
from django.db.models import QuerySet, prefetch_related_objects

from kheish_site.lib import clock
from kheish_site.lib.errors import BadRequest, Conflict, Forbidden, NotFound
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared, insert, update
from kheish_site.lib.redaction import MASK, redact
from kheish_site.lib.transactions import write
from sessions_app.models import (
    Approval,
    ApprovalStatus,
    ApprovalVote,
    Right,
    Risk,
    Run,
    ToolCall,
    ToolCallState,
)
from sessions_app.services import effects, journal, ports, waiting
from sessions_app.services.principal import Principal
from sessions_app.services.writes import Entry
from sessions_app.tools import registry
from sessions_app.tools.base import ToolResult

Behavior = Literal["allow", "deny"]
_SETTLED_AS: Final[Mapping[Behavior, ApprovalStatus]] = {
    "allow": ApprovalStatus.ALLOWED,
    "deny": ApprovalStatus.DENIED,
}


class ApprovalMissing(NotFound):
    """No such approval."""

    code, domain = "approval_not_found", "approvals"


class ApprovalConflict(Conflict):
    """It was decided in another way; ``decision`` in the problem says how and by whom."""

    code, domain = "approval_state_conflict", "approvals"


class DigestRequired(ApprovalConflict):
    """The call was edited: a yes counts when it carries the digest of what it says yes to."""

    code = "approval_digest_required"


class ApprovalExpired(Conflict):
    """Its time was over before it was decided."""

    code, domain = "approval_expired", "approvals"


class NotAllowedToVote(Forbidden):
    """The approval's policy does not count this person's vote."""

    code, domain = "approval_vote_forbidden", "approvals"


class HighRisk(NotAllowedToVote):
    """A yes to a call of high risk needs the role admin or a right of its own."""

    code = "approval_high_risk_forbidden"


class FourEyes(NotAllowedToVote):
    """Whoever started a run may not say yes to its calls of high risk."""

    code = "approval_four_eyes"


class ReasonMissing(BadRequest):
    """The installation wants a reason for this decision."""

    code, domain = "approval_reason_required", "approvals"


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One person's word. ``updated_input`` replaces the arguments; masked members keep their value.

    ``digest`` is that of the call the person looked at: a vote on another one is refused. A yes may go
    without while nobody has edited the call.
    """

    behavior: Behavior
    updated_input: dict[str, Any] | None = None
    justification: str = ""
    reason: str = ""
    digest: str = ""


def get(approval_id: str) -> Approval:
    """Return the approval with its call, run, session and votes. Raises: ApprovalMissing."""
    found = _found(approval_id)
    prefetch_related_objects([found], "votes")
    return found


def _found(approval_id: str) -> Approval:
    found = _BY_ID.first(approval_id)
    if found is None:
        raise ApprovalMissing(f"there is no approval {approval_id}")
    return found


def _by_id(approval_id: str) -> QuerySet[Approval]:
    rows = Approval.objects.select_related("tool_call__step", "run", "session")
    return rows.filter(approval_id=approval_id).order_by()


def _voters(approval_pk: int, digest: str) -> QuerySet[ApprovalVote, tuple[str]]:
    standing = ApprovalVote.objects.filter(approval_id=approval_pk, digest=digest, voided_at=None)
    return standing.filter(behavior="allow").order_by("id").values_list("principal")


_BY_ID: Final = Prepared[Approval](_by_id, str)
_VOTERS: Final = Prepared[tuple[str]](_voters, int, str)


def request(run: Run, call: ToolCall) -> tuple[Approval, Entry]:
    """Ask for people's word on ``call``, by the policy its permission decision names.

    Needs the open transaction in which the batch suspends.
    """
    policy, now = call.permission, clock.now()
    risk = policy.get("risk", Risk.HIGH)
    approval = Approval.objects.create(
        approval_id=new_id("apr"),
        session_id=run.session_id,
        run=run,
        tool_call=call,
        tool_name=call.tool_name,
        arguments=call.arguments,
        digest=call.digest,
        reason=policy.get("reason", ""),
        required_votes=policy.get("required_votes", 1),
        roles=list(policy.get("roles", ())),
        requester_may_vote=policy.get("requester_may_vote", True),
        risk=risk,
        expires_at=_expiry(now, policy.get("expires_after_seconds"), risk),
        created_at=now,
    )
    effects.advance(call, ToolCallState.AWAITING_APPROVAL)
    payload = {
        "approval_id": approval.approval_id,
        "call_id": call.call_id,
        "tool_name": call.tool_name,
        "input": call.arguments,
        "digest": call.digest,
        "reason": approval.reason,
        "risk": str(approval.risk),
        "required_votes": approval.required_votes,
        "expires_at": clock.rfc3339(approval.expires_at),
    }
    return approval, journal.entry(run.session.session_id, "approval.requested", payload, run=run)


def _expiry(now: datetime, seconds: int | None, risk: str) -> datetime | None:
    """Return when an approval is over: as its rule says, else as the installation does for the risk."""
    life = seconds or settings.KHEISH.approval_minutes[risk] * 60
    return now + timedelta(seconds=life) if life else None


def resolve(approval_id: str, vote: Vote, *, principal: Principal) -> Approval:
    """Count one vote; settle the approval when it decides, and let the run go on when nothing is open.

    The same decision again changes nothing. Joins an open transaction.
    Raises: ApprovalMissing, ApprovalConflict, DigestRequired, ApprovalExpired, NotAllowedToVote,
    ReasonMissing, BadRequest (edited input breaks the schema).
    """
    approval = _found(approval_id)
    with write():
        run = waiting.lock(approval)
        if approval.status != ApprovalStatus.PENDING:
            _same_or_conflict(approval, vote)
            return get(approval_id)
        if approval.expires_at is not None and approval.expires_at <= clock.now():
            raise ApprovalExpired("the approval has expired", approval_id=approval_id)
        if vote.digest and vote.digest != approval.digest:
            raise ApprovalConflict(_of_another_call(approval, vote.digest), approval_id=approval_id)
        if refused := refusal(approval, run, vote.behavior, principal):
            raise refused
        if vote.behavior == "allow" and not vote.digest and not _knows_call(approval, principal):
            raise DigestRequired(
                "the call was edited: look at it again, and send its digest", approval_id=approval_id
            )
        if needs_reason(approval.risk, vote.behavior) and not (vote.reason or vote.justification).strip():
            raise ReasonMissing(
                f"say why: a reason is needed to {vote.behavior} this", approval_id=approval_id
            )
        entries: list[Entry] = []
        if vote.behavior == "allow" and vote.updated_input is not None:
            entries += _edit(approval, run, vote.updated_input, principal)
        _record(approval, vote, principal)
        entries.append(_voted(approval, run, vote, principal))
        entries += _settle_if_decided(approval, run, vote, principal)
        waiting.commit_settled(run, *entries)
    return get(approval_id)


def _of_another_call(approval: Approval, digest: str) -> str:
    """Return why a vote's digest does not count: an edit came between, or it never was one of this call.

    Only the beginning of the right one is told: enough to compare, too little to vote without looking.
    """
    was_one = digest == approval.tool_call.digest or approval.votes.filter(digest=digest).exists()
    why = "the call was edited since you looked" if was_one else "the digest is not one of this call"
    return f"{why}: its digest is now {approval.digest[:12]}…"


def expire(approval: Approval) -> bool:
    """Settle an approval whose time is over as expired; the agent is told. False if it was decided first."""
    with write():
        run = waiting.lock(approval)
        due = approval.expires_at is not None and approval.expires_at <= clock.now()
        if approval.status != ApprovalStatus.PENDING or not due:
            return False
        _close(approval, ApprovalStatus.EXPIRED, {"behavior": "expired"})
        entry = _deny_call(approval, run, "the approval expired before anybody decided", "approval_expired")
        payload = {"approval_id": approval.approval_id, "expires_at": clock.rfc3339(approval.expires_at)}
        expired = journal.entry(run.session.session_id, "approval.expired", payload, run=run)
        waiting.commit_settled(run, expired, entry)
    return True


def is_edited(approval: Approval) -> bool:
    """Tell whether the arguments differ from those the agent asked for. Needs the call loaded."""
    settled: bool | None = approval.decision.get("edited")  # the call has taken over the edit
    return approval.digest != approval.tool_call.digest if settled is None else settled


def _knows_call(approval: Approval, principal: Principal) -> bool:
    """Tell whether a yes without a digest means this call: nobody edited it, or the caller voted since."""
    standing = approval.votes.filter(principal=principal.name, digest=approval.digest, voided_at=None)
    return not is_edited(approval) or standing.exists()


def _same_or_conflict(approval: Approval, vote: Vote) -> None:
    same = approval.status == _SETTLED_AS[vote.behavior]
    if same and vote.updated_input is not None:
        wanted = _unmasked(vote.updated_input, approval.arguments)
        same = effects.call_digest(approval.tool_name, wanted) == approval.digest
    elif same and vote.behavior == "allow" and vote.digest:
        same = vote.digest == approval.digest
    if not same:
        winner = approval.decision.get("principal")
        by = f" by {winner}" if winner else ""
        raise ApprovalConflict(
            f"already {approval.status}{by}",
            approval_id=approval.approval_id,
            approval_status=approval.status,
            decision=redact(approval.decision),
        )


def refusal(
    approval: Approval, run: Run, behavior: Behavior, principal: Principal
) -> NotAllowedToVote | None:
    """Return why this caller's word does not count on this approval, or None when it does.

    The one rule for every surface: ``resolve`` raises it, pages ask it before they show a button. A no to a
    high risk needs no right: it stops something.
    """
    if approval.roles and principal.role not in approval.roles:
        return NotAllowedToVote(f"this approval needs one of: {', '.join(approval.roles)}")
    risky = behavior == "allow" and approval.risk == Risk.HIGH
    if risky and not principal.may(Right.DECIDE_HIGH_RISK):
        return HighRisk(
            "a yes to a call of high risk needs the role admin, or the right decide_high_risk",
            required_right=str(Right.DECIDE_HIGH_RISK),
        )
    four_eyes = risky and settings.KHEISH.four_eyes
    if (four_eyes or not approval.requester_may_vote) and _asked_for(run, principal):
        kind = NotAllowedToVote if not approval.requester_may_vote else FourEyes
        return kind("whoever asked for the run may not approve this call")
    return None


def needs_reason(risk: str, behavior: Behavior) -> bool:
    """Tell whether the installation wants a reason for this decision (``KHEISH_REASON_REQUIRED``)."""
    wanted = settings.KHEISH.reason_required
    return (behavior == "deny" and "deny" in wanted) or (risk == Risk.HIGH and "high" in wanted)


def _asked_for(run: Run, principal: Principal) -> bool:
    return principal.name == run.requested_by or ports.asked_elsewhere(run, principal.name)


def edit_problem(approval: Approval, updated: dict[str, Any]) -> str:
    """Return in words why ``updated`` could not replace the arguments, or "". Changes nothing."""
    try:
        arguments = _unmasked(updated, approval.arguments)
    except BadRequest as refusal:
        return refusal.detail
    return "; ".join(str(redact(problem)) for problem in _problems(approval.tool_name, arguments))


def _problems(tool_name: str, arguments: dict[str, Any]) -> list[str]:
    tool = registry.get(tool_name)
    return registry.validate(tool, arguments) if tool else ["the tool no longer exists"]


def _edit(approval: Approval, run: Run, updated: dict[str, Any], principal: Principal) -> list[Entry]:
    arguments = _unmasked(updated, approval.arguments)
    changed = effects.call_digest(approval.tool_name, arguments)
    if changed == approval.digest:
        return []
    problems = _problems(approval.tool_name, arguments)
    if problems:
        raise BadRequest(
            "the edited input does not fit the tool",
            code="approval_input_invalid",
            errors=[{"detail": problem} for problem in problems],
        )
    voided = approval.votes.filter(voided_at=None).update(voided_at=clock.now())
    before, approval.arguments, approval.digest = approval.arguments, arguments, changed
    approval.save(update_fields=["arguments", "digest"])
    payload = {
        "approval_id": approval.approval_id,
        "principal": principal.name,
        "from": before,
        "to": arguments,
        "digest": changed,
        "votes_voided": voided,
    }
    return [journal.entry(run.session.session_id, "approval.edited", payload, run=run)]


def _unmasked(updated: Any, original: Any) -> Any:
    """Put the original back where an editor left the mask of a secret: the mask is never a value."""
    if isinstance(updated, dict):
        known = original if isinstance(original, dict) else {}
        return {key: _unmasked(value, known.get(key)) for key, value in updated.items()}
    if isinstance(updated, list):
        same = isinstance(original, list) and len(original) == len(updated)
        known_items = original if same else [None] * len(updated)  # of another length, which mask was whose?
        return [_unmasked(value, known) for value, known in zip(updated, known_items, strict=True)]
    if isinstance(updated, str) and MASK in updated:
        if isinstance(original, str) and redact(original) == updated:
            return original
        if updated == MASK and isinstance(original, str):
            return original
        raise BadRequest(
            "a masked value may be kept or replaced whole, not edited", code="approval_input_masked"
        )
    return updated


def _record(approval: Approval, vote: Vote, principal: Principal) -> None:
    """Keep one standing vote a person: a second one replaces the first, which stays as voided."""
    now = clock.now()
    approval.votes.filter(principal=principal.name, voided_at=None).update(voided_at=now)
    insert(
        ApprovalVote(
            approval=approval,
            principal=principal.name,
            behavior=vote.behavior,
            digest=approval.digest,
            justification=redact(vote.justification),
            reason=redact(vote.reason),
            auth_method=principal.auth_method,
            remote_addr=principal.remote_addr,
            at=now,
        )
    )


def _voted(approval: Approval, run: Run, vote: Vote, principal: Principal) -> Entry:
    payload = {
        "approval_id": approval.approval_id,
        "behavior": vote.behavior,
        "digest": approval.digest,
        "principal": principal.name,
        "role": str(principal.role),
        "auth_method": principal.auth_method,
        "remote_addr": principal.remote_addr,
        "justification": vote.justification,
        "reason": vote.reason,
    }
    return journal.entry(run.session.session_id, "approval.voted", payload, run=run)


def _settle_if_decided(approval: Approval, run: Run, vote: Vote, principal: Principal) -> list[Entry]:
    voters = [name for (name,) in _VOTERS.all(approval.pk, approval.digest)]
    if vote.behavior == "allow" and len(voters) < approval.required_votes:
        return []
    call = approval.tool_call
    decision = {
        "behavior": vote.behavior,
        "principal": principal.name,
        "auth_method": principal.auth_method,
        "justification": redact(vote.justification),
        "reason": redact(vote.reason),
        "edited": is_edited(approval),
        "at": clock.rfc3339(clock.now()),
    }
    _close(approval, _SETTLED_AS[vote.behavior], decision)
    kind = "approval.allowed" if vote.behavior == "allow" else "approval.denied"
    payload = {
        "approval_id": approval.approval_id,
        "call_id": call.call_id,
        "digest": approval.digest,
        **decision,
    }
    entries = [journal.entry(run.session.session_id, kind, payload, run=run)]
    if vote.behavior == "allow":
        _approve_call(approval, voters)
    else:
        entries.append(_deny_call(approval, run, vote.reason or "approval denied", "approval_denied"))
    return entries


def _close(approval: Approval, status: ApprovalStatus, decision: dict[str, Any]) -> None:
    update(approval, {"status": status, "decision": decision, "decided_at": clock.now()}, where={})


def _approve_call(approval: Approval, voters: list[str]) -> None:
    """Hand the approved arguments to the call, so that the executor finds their digest approved."""
    call = approval.tool_call
    effects.advance(
        call,
        ToolCallState.PLANNED,
        arguments=approval.arguments,
        digest=approval.digest,
        idempotency_key=effects.idempotency_key(
            approval.run.run_id, call.step.number, call.call_id, approval.arguments
        ),
        permission=call.permission
        | {
            "approval_id": approval.approval_id,
            "approved_digest": approval.digest,
            "approved_by": voters,
        },
    )


def _deny_call(approval: Approval, run: Run, why: str, code: str) -> Entry:
    call = approval.tool_call
    result = ToolResult(content=f"denied: {why}", is_error=True, error_code=code)
    effects.settle(call, ToolCallState.DENIED, result)
    return effects.settled_entry(run.session.session_id, run, call)

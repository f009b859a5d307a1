"""What runs wait for a person about, in a line each."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Q, QuerySet

from sessions_app.models import Approval, OperatorDecision, UserQuestion
from sessions_app.services.projections.shape import call_summary, questions_summary
from sessions_app.services.waiting_kinds import KINDS, Item, Kind


@dataclass(frozen=True, kw_only=True)
class Open:
    """One thing a run waits for a person about. ``votes`` are given and needed, for approvals."""

    kind: str
    item_id: str
    about: str
    since: datetime
    expires_at: datetime | None
    votes: tuple[int, int]


def open_items(run_pks: Sequence[int]) -> dict[int, list[Open]]:
    """Return what each of the runs waits for, by kind, oldest first; one query a kind, none without runs."""
    found: dict[int, list[Open]] = defaultdict(list)
    for kind in KINDS if run_pks else ():
        for item in _rows(kind, run_pks):
            found[item.run_id].append(
                Open(
                    kind=kind.noun,
                    item_id=kind.id_of(item),
                    about=_about(item),
                    since=item.created_at,
                    expires_at=getattr(item, "expires_at", None),
                    votes=(item.given, item.required_votes) if kind.model is Approval else (0, 1),
                )
            )
    return found


def _rows(kind: Kind, run_pks: Sequence[int]) -> QuerySet[Any]:
    rows = kind.pending().filter(run_id__in=run_pks).order_by("pk")
    if kind.model is Approval:
        return rows.annotate(given=Count("votes", filter=Q(votes__voided_at=None, votes__behavior="allow")))
    if kind.model is OperatorDecision:
        called = ("tool_call__tool_name", "tool_call__arguments")
        return rows.select_related("tool_call").only("run_id", "decision_id", "created_at", *called)
    return rows


def _about(item: Item) -> str:
    if isinstance(item, UserQuestion):
        return questions_summary(item.questions)
    if isinstance(item, Approval):
        return call_summary(item.tool_name, item.arguments)
    return f"did it happen? {call_summary(item.tool_call.tool_name, item.tool_call.arguments)}"

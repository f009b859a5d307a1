"""How people decide about each tool: what is asked too often to be read, and what waits too long."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Final

from kheish_site.lib import clock
from sessions_app.models import Approval, ApprovalStatus

DAYS: Final = 30
MOST: Final = 20_000
"""Approvals that are looked at, the newest ones: what the answer costs at most."""
OFTEN: Final = 20
"""Decisions from which on a habit is one."""


@dataclass(frozen=True, kw_only=True)
class Habit:
    """What came of the approvals of one tool. ``allowed`` holds those that were ``edited`` first too."""

    tool_name: str
    asked: int
    allowed: int
    edited: int
    denied: int
    expired: int
    cancelled: int
    open: int
    median_seconds: float | None
    """Half of what people allowed or denied was decided in less; None when nothing was."""

    @property
    def always_allowed(self) -> bool:
        """True when people said nothing but yes, often enough to ask whether the question is worth it."""
        return self.allowed >= OFTEN and not (self.edited or self.denied or self.expired)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the answer needs of one approval."""

    status: str
    edited: bool
    seconds: float | None


def habits() -> list[Habit]:
    """Return what came of the approvals of the last ``DAYS``, by tool, the most asked first. One query."""
    since, by_tool = clock.now() - timedelta(days=DAYS), dict[str, list[Asked]]()
    rows = Approval.objects.order_by("-pk").values_list(
        "tool_name", "status", "decision__edited", "created_at", "decided_at"
    )
    for tool_name, status, edited, begin, end in rows[:MOST]:
        if begin >= since:
            seconds = (end - begin).total_seconds() if end is not None else None
            by_tool.setdefault(tool_name, []).append(
                Asked(status=status, edited=bool(edited), seconds=seconds)
            )
    found = [_habit(tool_name, asked) for tool_name, asked in by_tool.items()]
    return sorted(found, key=lambda habit: (-habit.asked, habit.tool_name))


def _habit(tool_name: str, asked: Iterable[Asked]) -> Habit:
    rows = list(asked)
    number = Counter(row.status for row in rows)
    allowed, denied = ApprovalStatus.ALLOWED, ApprovalStatus.DENIED
    waits = [row.seconds for row in rows if row.status in (allowed, denied) and row.seconds is not None]
    return Habit(
        tool_name=tool_name,
        asked=len(rows),
        allowed=number[allowed],
        edited=sum(row.edited for row in rows if row.status == allowed),
        denied=number[denied],
        expired=number[ApprovalStatus.EXPIRED],
        cancelled=number[ApprovalStatus.CANCELLED],
        open=number[ApprovalStatus.PENDING],
        median_seconds=median(waits) if waits else None,
    )

"""A verb's course through all rows of a filtered list, however many: counted first, then batch by batch.

Each batch is one request, so that none takes long and a person can stop between two. The course's position is
in the page, signed: nothing is kept on the server. It goes from the newest row downwards and never touches
rows that are newer than the preview. A batch that is sent twice finds its rows done.
"""

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Final

from django.core import signing
from django.db.models import QuerySet

from sessions_app.admin.verbs import Cleaned, Tally, Verb, perform
from sessions_app.services.principal import Principal

MOST: Final = 5_000
"""Rows one course takes, the newest ones; the rest needs another course."""
BATCH: Final = 200
BATCH_SECONDS: Final = 4.0
_SALT: Final = "kheish.console.course"
_ASIDE: Final = "not in a state for it"


@dataclass(frozen=True, kw_only=True)
class Course:
    """The position of a verb: rows from ``below`` (exclusive) down to ``last`` are still to do."""

    of: str
    """The list and the verb, so that one course cannot go on as another."""
    below: int
    last: int
    total: int
    looked_at: int = 0
    tally: Tally = field(default_factory=Tally)

    @property
    def over(self) -> bool:
        """True when no row is left."""
        return self.looked_at >= self.total or self.below <= self.last

    def token(self) -> str:
        """Return the course as text that only we can write."""
        return signing.dumps({**vars(self), "tally": [self.tally.done, self.tally.refused]}, salt=_SALT)


def begin(of: str, rows: QuerySet[Any]) -> Course | None:
    """Return the course through ``rows`` as they are now; None without any. One query."""
    pks = list(rows.order_by("-pk").values_list("pk", flat=True)[:MOST])
    if not pks:
        return None
    return Course(of=of, below=pks[0] + 1, last=pks[-1], total=len(pks))


def read(of: str, token: str) -> Course | None:
    """Return the course in a page's token; None for a forged token or another list or verb."""
    try:
        members = signing.loads(token, salt=_SALT)
    except signing.BadSignature:
        return None
    done, refused = members.pop("tally")
    course = Course(**members, tally=Tally(done=Counter(done), refused=Counter(refused)))
    return course if course.of == of else None


def left(course: Course, rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return the rows the course has still to do, newest first."""
    return rows.filter(pk__lt=course.below, pk__gte=course.last).order_by("-pk")


def possible(course: Course, rows: QuerySet[Any], verb: Verb) -> int:
    """Count the rows that are in a state for ``verb`` now."""
    return sum(verb.applies(row) for row in left(course, rows)[:MOST].iterator(BATCH))


def go_on(course: Course, rows: QuerySet[Any], verb: Verb, cleaned: Cleaned, principal: Principal) -> Course:
    """Do ``verb`` to the next batch, for at most about ``BATCH_SECONDS``; return the course after it."""
    tally = Tally(done=Counter(course.tally.done), refused=Counter(course.tally.refused))
    batch, until, number = list(left(course, rows)[:BATCH]), time.monotonic() + BATCH_SECONDS, 0
    while number < len(batch) and (not number or time.monotonic() < until):
        _one(batch[number], verb, cleaned, principal, tally)
        number += 1
    more = number < len(batch) or number == BATCH
    return replace(
        course,
        below=batch[number - 1].pk if more else course.last,
        looked_at=course.looked_at + number,
        tally=tally,
    )


def _one(row: Any, verb: Verb, cleaned: Cleaned, principal: Principal, tally: Tally) -> None:
    if verb.applies(row):
        tally.add(perform(verb, [row], cleaned, principal))
    else:
        tally.refused[_ASIDE] += 1

"""Verbs: the only way a page changes anything. Each calls the service that the API calls.

A verb is offered to people whose role allows it, on the page of a row, on selected rows of a list, or on the
list itself (making something new). It first shows what it is about to do and then reports what it did:
"3 approved, 1 refused: already cancelled".
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

from django import forms
from django.contrib import messages

from kheish_site.lib.errors import Conflict, KheishError
from sessions_app.admin.forms import TextArea
from sessions_app.models import Role
from sessions_app.services import audit
from sessions_app.services.principal import Principal

Cleaned = Mapping[str, Any]
Tone = Literal["", "good", "danger"]
MOST_ROWS: Final = 200
"""Rows one action may touch: as many as a person can have read."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a verb. ``word`` replaces the verb's past tense; ``once`` is shown once, never stored."""

    word: str = ""
    row: Any = None
    once: str = ""


Act = Callable[[Any, Cleaned, Principal], Outcome | None]


class NothingToSay(forms.Form):
    """The form of a verb that only needs confirmation."""


class ReasonForm(forms.Form):
    """The form of a verb that records a reason."""

    reason: forms.CharField = TextArea(
        rows=2, required=False, max_length=500, help_text="Kept in the journal."
    )


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One thing a person may do. ``act`` gets the row (None for a new one), the form's data and the caller.

    ``applies`` tells whether a row is in a state for it; the service has the last word. ``seal`` names what
    the person saw of a row, so that a change in between is refused (``cleaned["seen"]``).
    """

    name: str
    label: str
    past: str
    act: Act
    role: str = Role.OPERATOR
    form: type[forms.Form] = NothingToSay
    form_for: Callable[[Any], type[forms.Form]] | None = None
    initial: Callable[[Any], dict[str, Any]] = field(default=lambda row: {})
    applies: Callable[[Any], bool] = field(default=lambda row: True)
    seal: Callable[[Any], str] | None = None
    explain: str = ""
    tone: Tone = ""
    many: bool = True
    inline: bool = False
    keyed: bool = False
    """Whether a form that is sent twice, by a double click or a retry, would do it twice."""
    refused: Callable[[Any, Principal], str] = field(default=lambda row, principal: "")
    """Why this person may not do it to this row, beside the role; "" when they may."""
    wants_reason: Callable[[Any], bool] = field(default=lambda row: False)
    """Whether the service refuses it without a reason (None: on some row); the page says so beforehand."""

    def do(self, row: Any, cleaned: Cleaned, principal: Principal) -> Outcome:
        """Do it in the person's name. Raises: KheishError, also when the page's seal is missing."""
        if self.seal is not None and not cleaned["seen"]:
            raise Conflict("the request does not say what was looked at: look at it again")
        with audit.acting(lambda: principal):
            return self.act(row, cleaned, principal) or Outcome()

    def form_class(self, row: Any) -> type[forms.Form]:
        """Return the form for ``row`` (None: for many rows, or for a new one)."""
        return self.form_for(row) if self.form_for is not None else self.form


def reason_mark(verbs: Iterable[Verb], row: Any) -> str:
    """Return the mark beside the reason's label: "required", "required to deny" or ""."""
    offered = list(verbs)
    wanting = [verb for verb in offered if verb.wants_reason(row)]
    if not wanting or len(wanting) == len(offered):
        return "required" if wanting else ""
    return f"required to {' or '.join(verb.label.lower() for verb in wanting)}"


@dataclass
class Tally:
    """What came of a verb on many rows, ready to be shown."""

    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def level(self) -> int:
        """The level of the message, which colours it."""
        if not self.refused:
            return messages.SUCCESS
        return messages.WARNING if self.done else messages.ERROR

    def add(self, other: "Tally") -> None:
        """Add the counts of other rows."""
        self.done += other.done
        self.refused += other.refused

    def __str__(self) -> str:
        parts = [f"{number} {word}" for word, number in self.done.items()]
        parts += [f"{number} refused: {why}" for why, number in self.refused.items()]
        return ", ".join(parts)


def perform(
    verb: Verb,
    rows: Iterable[Any],
    cleaned: Cleaned,
    principal: Principal,
    seen: Mapping[Any, str] | None = None,
    once: Callable[[Any, Callable[[], str]], str] = lambda row, work: work(),
) -> Tally:
    """Do ``verb`` to each row, each in the transaction of its own service call, and count what came of it.

    ``once`` does the work on a row, or returns the word for what was done to it before.
    """

    def act(row: Any) -> str:
        data = dict(cleaned) | {"seen": (seen or {}).get(row.pk, "")}
        return verb.do(row, data, principal).word or verb.past

    tally = Tally()
    for row in rows:
        try:
            word = once(row, partial(act, row))
        except KheishError as refusal:
            tally.refused[refusal.detail or refusal.error_code] += 1
        else:
            tally.done[word] += 1
    return tally

"""Approvals and their votes: the calls that need a yes or a no."""

import difflib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib import admin
from django.template.loader import render_to_string
from django.utils.html import format_html
from django.utils.safestring import SafeString

from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.redaction import masks
from kheish_site.lib.transactions import write
from sessions_app.admin import show
from sessions_app.admin.base import ConsoleAdmin, Section
from sessions_app.admin.forms import JsonArea, TextArea
from sessions_app.admin.verbs import Cleaned, Outcome, ReasonForm, Verb
from sessions_app.models import Approval, ApprovalStatus, ApprovalVote, Risk, Role
from sessions_app.services import approvals, grants
from sessions_app.services.approvals import Behavior, Vote
from sessions_app.services.principal import Principal
from sessions_app.services.projections.shape import call_summary


class DenyForm(ReasonForm):
    """A no, with the words the agent reads."""

    reason = TextArea(
        rows=2,
        required=False,
        max_length=500,
        help_text="Kept in the journal. When you deny, the agent reads it.",
    )


class AsShownForm(DenyForm):
    """A yes to the call as shown; arguments edited on the page need the verb for an edited call."""

    shown: Any = None

    def clean(self) -> dict[str, Any]:
        """Refuse edited arguments, which this verb would silently drop."""
        cleaned: dict[str, Any] = super().clean() or {}
        written = self.data.get("arguments")
        if written and not _same_json(str(written), show.json_text(self.shown)):
            self.add_error(
                None, "You edited the arguments. Approve with edits, or put them back as they were."
            )
        return cleaned


def _same_json(one: str, other: str) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except (ValueError, RecursionError):
        return False


class EditForm(DenyForm):
    """A yes to other arguments. The first submit shows the difference, the second sends it."""

    arguments = JsonArea(rows=12, help_text="Typed JSON; a masked value left as it is keeps its real value.")
    reviewed = forms.CharField(required=False, widget=forms.HiddenInput)
    field_order = ("arguments", "reason")
    before: Any = None

    def clean(self) -> dict[str, Any]:
        """Refuse until the person has seen the difference that exactly this text makes."""
        cleaned: dict[str, Any] = super().clean() or {}
        if "arguments" not in cleaned:
            return cleaned
        changed = difference(self.before, cleaned["arguments"])
        if cleaned.get("reviewed") != changed.mark:
            self.data = {**self.data.dict(), "reviewed": changed.mark}  # type: ignore[attr-defined]  # a QueryDict
            self.add_error(None, _look_first(changed))
        return cleaned


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The changes of an edit, as lines of a redacted diff; ``mark`` identifies exactly this edit."""

    lines: Sequence[str]
    mark: str


def difference(before: Any, after: Any) -> Difference:
    """Compare two sets of arguments in the form that people read."""
    old, new = show.json_text(before), show.json_text(after)
    diff = list(difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=1))[2:]
    return Difference(lines=[line for line in diff if not line.startswith("@@")], mark=sha256_hex(new))


def _look_first(changed: Difference) -> forms.ValidationError:
    if not changed.lines:
        return forms.ValidationError("Nothing is changed yet. Approve it as it is, or edit the arguments.")
    drawn = render_to_string("sessions_app/admin/_diff.html", {"diff": changed.lines})
    return forms.ValidationError(
        format_html("This is what you change. Look at it, then submit again.{}", drawn)
    )


def _as_shown_form(row: Any) -> type[forms.Form]:
    return type("AsShown", (AsShownForm,), {"shown": row.arguments if row is not None else {}})


def _edit_form(row: Any) -> type[forms.Form]:
    return type("EditThis", (EditForm,), {"before": row.arguments if row is not None else {}})


def _vote(row: Approval, vote: Vote, principal: Principal) -> Outcome | None:
    settled = approvals.resolve(row.approval_id, vote, principal=principal)
    if settled.status != ApprovalStatus.PENDING:
        return None
    given = sum(1 for item in settled.votes.all() if item.voided_at is None and item.behavior == "allow")
    return Outcome(word=f"counted ({given} of {settled.required_votes} votes)")


def _allow(row: Approval, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    vote = Vote(behavior="allow", justification=cleaned["reason"], digest=cleaned["seen"])
    return _vote(row, vote, principal)


def _deny(row: Approval, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    return _vote(row, Vote(behavior="deny", reason=cleaned["reason"], digest=cleaned["seen"]), principal)


def _allow_edited(row: Approval, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    vote = Vote(
        behavior="allow",
        updated_input=cleaned["arguments"],
        justification=cleaned["reason"],
        digest=cleaned["seen"],
    )
    return _vote(row, vote, principal)


def _not_by_you(behavior: Behavior) -> Callable[[Approval, Principal], str]:
    """Return a function that says why a person's vote would be refused, in the words of the service."""

    def refused(row: Approval, principal: Principal) -> str:
        found = approvals.refusal(row, row.run, behavior, principal)
        return f"Not by you: {found.detail}." if found is not None else ""

    return refused


def _wants_reason(behavior: Behavior) -> Callable[[Approval | None], bool]:
    """Return a function that tells whether a reason is needed; for many rows, as for the highest risk."""
    return lambda row: approvals.needs_reason(Risk.HIGH if row is None else row.risk, behavior)


def _allow_and_grant(row: Approval, cleaned: Cleaned, principal: Principal) -> Outcome | None:
    if grants.needs_others(row):
        raise grants.GrantNeedsOthers("this call needs other people's word, and so does each one after it")
    with write():  # the grant first: if it is refused, the call stays undecided
        grants.give(row.session.session_id, row.tool_name, principal=principal, reason=cleaned["reason"])
        return _allow(row, cleaned, principal)


def _pending(row: Approval) -> bool:
    return row.status == ApprovalStatus.PENDING


def _digest(row: Approval) -> str:
    return row.digest


ALLOW = Verb(
    name="allow",
    label="Approve",
    past="approved",
    act=_allow,
    refused=_not_by_you("allow"),
    wants_reason=_wants_reason("allow"),
    form_for=_as_shown_form,
    applies=_pending,
    seal=_digest,
    tone="good",
    inline=True,
    explain="The agent goes on and runs exactly what is shown here.",
)
DENY = Verb(
    name="deny",
    label="Deny",
    past="denied",
    act=_deny,
    refused=_not_by_you("deny"),
    wants_reason=_wants_reason("deny"),
    form=DenyForm,
    applies=_pending,
    seal=_digest,
    tone="danger",
    inline=True,
    explain="The call does not run. The agent is told, with your reason, and goes on.",
)
GRANT = Verb(
    name="grant",
    label="Approve for this session",
    past="approved, and allowed for this session",
    act=_allow_and_grant,
    role=Role.ADMIN,
    refused=_not_by_you("allow"),
    wants_reason=_wants_reason("allow"),
    form_for=_as_shown_form,
    applies=lambda row: _pending(row) and row.risk != Risk.HIGH and not grants.needs_others(row),
    seal=_digest,
    many=False,
    explain="This call runs, and later calls of this tool in this session run without asking.",
)
EDIT = Verb(
    name="edit",
    label="Approve with edits",
    past="approved with edits",
    act=_allow_edited,
    refused=_not_by_you("allow"),
    wants_reason=_wants_reason("allow"),
    form_for=_edit_form,
    initial=lambda row: {"arguments": row.arguments},
    applies=_pending,
    seal=_digest,
    many=False,
    explain="Change the arguments, look at the difference, then approve. Earlier votes are voided.",
)


@admin.register(Approval)
class ApprovalAdmin(ConsoleAdmin):
    """Calls that need people; settled once."""

    plural, singular, public_id = "Approvals", "Approval", "approval_id"
    empty = (
        "Nothing waits for a yes. Requests appear here when an agent wants to do something that needs one."
    )
    empty_command = 'python3 manage.py sessions input demo "Say hello"'
    verbs = (ALLOW, DENY, EDIT, GRANT)

    list_display = ("shown_id", "shown_status", "call", "session_link", "run_link", "asked", "expires")
    list_filter = ("status",)
    linked = ("tool_name__exact",)
    list_select_related = ("session", "run")
    search_fields = ("approval_id__exact", "run__run_id__exact", "session__session_id__startswith")
    search_help_text = "An approval or run id, or the beginning of a session's name"
    fieldsets = (
        ("What will run, exactly", {"fields": ("tool_name", "exact_input")}),
        ("What for", {"fields": ("why", "task", "session_link", "run_link", "call_link")}),
        (
            "Rules of this approval",
            {"classes": ("collapse",), "fields": ("policy", "digest", "asked", "expires", "decision_json")},
        ),
    )
    shown_id = show.id_of("approval_id", "approval")
    shown_status = show.status_of()
    session_link = show.link_to("session", "session_id", "session")
    run_link = show.link_to("run", "run_id", "run")
    call_link = show.link_to("tool_call", "call_id", "tool call")
    asked = show.age_of("created_at", "asked")
    expires = show.age_of("expires_at", "expires")
    exact_input = show.json_of("arguments", "arguments", whole=True)
    decision_json = show.json_of("decision")
    why = show.line_of("reason", "why it asks")

    @admin.display(description="what")
    def call(self, row: Approval) -> SafeString:
        """The call in one redacted line."""
        return format_html('<span class="kh-line">{}</span>', call_summary(row.tool_name, row.arguments))

    @admin.display(description="task")
    def task(self, row: Approval) -> SafeString | str:
        """The input that started the run."""
        return show.block(str(row.run.input_message.get("content", "")), limit=2_000)

    @admin.display(description="policy")
    def policy(self, row: Approval) -> str:
        """How many votes it needs, and of whom."""
        who = ", ".join(row.roles) or "anybody who may operate"
        asker = "" if row.requester_may_vote else "; not whoever asked for the run"
        return f"{row.required_votes} vote{'s' if row.required_votes != 1 else ''} of: {who}{asker}"

    def status_line(self, row: Approval) -> Sequence[Any]:
        """Status, and the time left while it is open."""
        left = format_html("expires {}", show.age(row.expires_at)) if row.expires_at and _pending(row) else ""
        return (show.badge(row.status), format_html("asked {}", show.age(row.created_at)), left)

    def facts(self, row: Approval) -> Sequence[tuple[str, Any]]:
        """The whole call, never cut, and what it is for."""
        return (
            ("Approval", show.link(row, show.short(row.approval_id))),
            ("Status", show.badge(row.status)),
            ("Session", show.link(row.session, row.session.session_id)),
            ("Tool", row.tool_name),
            (
                "Runs, parts masked" if masks(row.arguments) else "Runs exactly",
                show.json_block(row.arguments, limit=None),
            ),
        )

    def sections(self, row: Approval) -> Sequence[Section]:
        """Its votes."""
        votes = [
            (vote.principal, show.badge(_word(vote)), _why(vote), vote.auth_method, show.age(vote.at))
            for vote in row.votes.all()
        ]
        columns = ("who", "vote", "why", "signed in by", "when")
        return (Section(title="Votes", columns=columns, rows=votes, empty="Nobody has voted yet."),)


def _word(vote: ApprovalVote) -> str:
    if vote.voided_at is not None:
        return "voided"
    return "allowed" if vote.behavior == "allow" else "denied"


def _why(vote: ApprovalVote) -> Any:
    return show.redact(vote.justification or vote.reason) or show.NOTHING


@admin.register(ApprovalVote)
class ApprovalVoteAdmin(ConsoleAdmin):
    """One person's vote on one exact call."""

    plural, singular = "Votes", "Vote"
    empty = "Nobody has voted yet. Votes are given on approvals."

    list_display = ("__str__", "approval_link", "shown_vote", "auth_method", "remote_addr", "when")
    list_filter = ("behavior",)
    list_select_related = ("approval",)
    search_fields = ("approval__approval_id__exact", "principal__exact")
    search_help_text = "An approval id, or a name"
    fields = (
        "approval_link",
        "principal",
        "shown_vote",
        "digest",
        "why",
        "said",
        "auth_method",
        "remote_addr",
        "when",
    )
    approval_link = show.link_to("approval", "approval_id", "approval")
    why = show.line_of("justification")
    said = show.line_of("reason")
    when = show.age_of("at", "when")

    @admin.display(description="vote")
    def shown_vote(self, row: ApprovalVote) -> SafeString:
        """The vote, or that it was voided."""
        return show.badge(_word(row))

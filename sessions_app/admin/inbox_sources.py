"""What the core puts into the inbox: approvals, questions, effects in doubt."""

from collections.abc import Mapping
from typing import Any, Final

from django.contrib import admin
from django.db.models import Case, F, When
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.urls import reverse

from kheish_site.console.site import site
from kheish_site.lib.redaction import masks
from sessions_app.admin import addresses, permits, show, timeline
from sessions_app.admin.approvals import EDIT, difference
from sessions_app.admin.caller import principal
from sessions_app.admin.inbox import RANK, Item, Settled, Source, add
from sessions_app.models import (
    Approval,
    ApprovalStatus,
    JournalEntry,
    OperatorDecision,
    Right,
    Risk,
    Run,
    UserQuestion,
)
from sessions_app.services import approvals
from sessions_app.services.projections.shape import call_summary, one_line
from sessions_app.tools.policy import default_risk

BEFORE: Final = 30
"""Entries of what happened before."""
SHOWN_BEFORE: Final = 12


def _rows(model: Any, *related: str) -> Any:
    """Return what waits, in the order of ``inbox.items``, for the list shows only so many."""
    rows = model._default_manager.filter(status="pending").select_related("session", "run", *related)
    order: list[Any] = [] if model is OperatorDecision else [F("expires_at").asc(nulls_last=True)]
    if model is Approval:
        order.append(Case(*(When(risk=risk, then=rank) for risk, rank in RANK.items()), default=len(RANK)))
    return rows.order_by(*order, "pk")


def _count(model: Any) -> int:
    return int(model._default_manager.filter(status="pending").count())


def _approvals(limit: int) -> list[Item]:
    return [
        Item(
            key=row.approval_id,
            what=row.tool_name,
            gist=_gist(row.tool_name, row.arguments),
            risk=row.risk,
            session_id=row.session.session_id,
            of_run=row.run.run_id,
            asked_at=row.created_at,
            expires_at=row.expires_at,
        )
        for row in _rows(Approval, "tool_call")[:limit]
    ]


def _gist(tool_name: str, arguments: Mapping[str, Any]) -> str:
    """Return what a call is for in the agent's words, or else the call itself."""
    said = arguments.get("description")
    if isinstance(said, str) and said.strip():
        return one_line(show.redact(said))
    return call_summary(tool_name, arguments).removeprefix(f"{tool_name}: ")


def _questions(limit: int) -> list[Item]:
    return [
        Item(
            key=row.question_id,
            what="Question",
            gist=one_line(show.redact(" / ".join(str(item.get("question", "")) for item in row.questions))),
            risk="",
            session_id=row.session.session_id,
            of_run=row.run.run_id,
            asked_at=row.created_at,
            expires_at=row.expires_at,
            icon="question",
        )
        for row in _rows(UserQuestion)[:limit]
    ]


def _decisions(limit: int) -> list[Item]:
    return [
        Item(
            key=row.decision_id,
            what="Did it happen?",
            gist=call_summary(row.tool_call.tool_name, row.tool_call.arguments),
            risk=default_risk(row.tool_call.tool_name),
            session_id=row.session.session_id,
            of_run=row.run.run_id,
            asked_at=row.created_at,
            icon="scale",
        )
        for row in _rows(OperatorDecision, "tool_call")[:limit]
    ]


def _approval_ended(row: Approval) -> Settled | None:
    if row.status == ApprovalStatus.PENDING:
        return None
    said = row.decision
    why = str(said.get("reason") or said.get("justification") or "")
    return Settled(
        word=row.get_status_display().lower(),
        who=str(said.get("principal", "")),
        at=row.decided_at,
        why=show.redact(why),
    )


def _question_ended(row: UserQuestion) -> Settled | None:
    if row.status == "pending":
        return None
    return Settled(
        word=row.status, who=row.resolved_by, at=row.resolved_at, why=show.redact(row.justification)
    )


def _decision_ended(row: OperatorDecision) -> Settled | None:
    if row.status == "pending":
        return None
    word = row.get_outcome_display() or row.status
    return Settled(
        word=f"settled: {word}", who=row.resolved_by, at=row.resolved_at, why=show.redact(row.note)
    )


def _of(row: Any) -> dict[str, Any]:
    """Return what every pane says of where it comes from: session, persona, task, and what went before."""
    run = Run.objects.select_related("session", "persona__persona").get(pk=row.run_id)
    entries = JournalEntry.objects.filter(run_id=run.pk).order_by("-seq")[:BEFORE]
    before = list(reversed(entries))
    siblings = Approval.objects.filter(run=run, status=ApprovalStatus.PENDING).count()
    return {
        "console_run": run,
        "console_run_url": addresses.of(run),
        "console_session_url": addresses.of(run.session),
        "console_persona": f"{run.persona.persona.persona_id} r{run.persona.revision}" if run.persona else "",
        "console_task": show.redact(str(run.input_message.get("content", ""))),
        "console_before": timeline.lines(before)[-SHOWN_BEFORE:],
        "console_entries": before,
        "console_wave": siblings,
    }


def _why(of: Mapping[str, Any], step: int) -> str:
    """Return what the agent said when it asked: the text of the same answer of the model."""
    for entry in reversed(of["console_entries"]):
        payload = entry.payload
        if (
            entry.kind == "message.created"
            and payload.get("role") == "assistant"
            and payload.get("step") == step
        ):
            return str(show.redact(str(payload.get("content") or "")))
    return ""


def _input(request: HttpRequest, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call as they are shown, and whether that is all of them."""
    return {
        "console_input": show.json_text(arguments),
        "console_masked": masks(arguments),
        "console_may_unmask": principal(request).may(Right.VIEW_UNREDACTED),
    }


def _approval_pane(request: HttpRequest, row: Approval) -> dict[str, Any]:
    call, of = approvals.get(row.approval_id).tool_call, _of(row)
    votes = [vote for vote in row.votes.all() if vote.voided_at is None]
    said = row.arguments.get("description")
    return {
        **of,
        "console_name": row.tool_name,
        "console_risk": row.risk,
        "console_why": _why(of, call.step.number),
        "console_about": show.redact(said) if isinstance(said, str) else "",
        "console_rule": show.redact(row.reason),
        **_input(request, row.arguments),
        "console_votes": votes,
        "console_votes_left": row.required_votes - sum(vote.behavior == "allow" for vote in votes),
        "console_alike": _alike(row) if row.risk == Risk.LOW else [],
        "console_diff_url": reverse("admin:console_inbox_diff", args=[row.approval_id]),
    }


def _alike(row: Approval) -> list[dict[str, Any]]:
    """Return the open requests for the same harmless tool, this one with them, whole; "" when it is alone."""
    rows = list(_rows(Approval, "tool_call").filter(tool_name=row.tool_name)[:20])
    if len(rows) < 2 or any(other.risk != Risk.LOW or masks(other.arguments) for other in rows):
        return []
    return [{"row": other, "input": show.json_text(other.arguments)} for other in rows]


def _question_pane(request: HttpRequest, row: UserQuestion) -> dict[str, Any]:
    page: Any = admin.site.get_model_admin(UserQuestion)
    answer = next(verb for verb in page.verbs if verb.name == "answer")
    form = answer.form_class(row)(request.POST if request.method == "POST" else None)
    asked = [
        {"item": show.redact(item), "choice": form[f"choice_{number}"], "text": form[f"text_{number}"]}
        for number, item in enumerate(row.questions)
    ]
    return {**_of(row), "console_name": "Question", "console_asked": asked, "console_about": ""}


def _decision_pane(request: HttpRequest, row: OperatorDecision) -> dict[str, Any]:
    call, of = row.tool_call, _of(row)
    return {
        **of,
        "console_name": call.tool_name,
        "console_risk": default_risk(call.tool_name),
        "console_why": _why(of, call.step.number),
        **_input(request, call.arguments),
        "console_call": call,
        "console_partial": show.block(row.partial_output),
    }


def diff_view(request: HttpRequest, key: str) -> HttpResponse:
    """What an edit would change: ``{"html", "mark", "problem"}``. Judges it as sending it would."""
    row = approvals.get(key)
    permits.require(request, EDIT, row)
    form: Any = EDIT.form_class(row)(request.POST)
    form.is_valid()
    if "arguments" not in form.cleaned_data:
        return JsonResponse({"html": "", "mark": "", "problem": " ".join(form.errors.get("arguments", ()))})
    changed = difference(row.arguments, form.cleaned_data["arguments"])
    problem = approvals.edit_problem(row, form.cleaned_data["arguments"])
    html = render_to_string("sessions_app/admin/_diff.html", {"diff": changed.lines})
    return JsonResponse({"html": html, "mark": changed.mark, "problem": problem, "same": not changed.lines})


add(
    Source(
        prefix="apr_",
        noun="to approve",
        model=Approval,
        template="sessions_app/admin/pane_approval.html",
        count=lambda: _count(Approval),
        items=_approvals,
        settled=_approval_ended,
        pane=_approval_pane,
    )
)
add(
    Source(
        prefix="qst_",
        noun="to answer",
        model=UserQuestion,
        template="sessions_app/admin/pane_question.html",
        count=lambda: _count(UserQuestion),
        items=_questions,
        settled=_question_ended,
        pane=_question_pane,
    )
)
add(
    Source(
        prefix="dec_",
        noun="to decide",
        model=OperatorDecision,
        template="sessions_app/admin/pane_decision.html",
        count=lambda: _count(OperatorDecision),
        items=_decisions,
        settled=_decision_ended,
        pane=_decision_pane,
    )
)
site().page("inbox/<str:key>/diff/", "console_inbox_diff", diff_view)

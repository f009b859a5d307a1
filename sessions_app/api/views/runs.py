"""Runs: submitted, listed, read back, cancelled."""

from dataclasses import replace
from functools import partial

from django.db.models import BigIntegerField, Case, ExpressionWrapper, F, QuerySet, Value, When
from rest_framework.request import Request
from rest_framework.response import Response

from sessions_app.api import examples, filters
from sessions_app.api.idempotency import idempotent, keyed, once
from sessions_app.api.lines import LinesResponse
from sessions_app.api.prefer import PREFER, wait_seconds
from sessions_app.api.schema import describe
from sessions_app.api.serializers import runs as shapes
from sessions_app.api.serializers.base import page_of
from sessions_app.api.serializers.events import EventQuery, EventView
from sessions_app.api.serializers.sessions import ReasonBody
from sessions_app.api.views.base import KheishView
from sessions_app.api.views.journals import journal_page
from sessions_app.models import ACTIVE, LIVE, TERMINAL, Run, RunStatus
from sessions_app.services import (
    approval_batches,
    events,
    exact_looks,
    patience,
    projections,
    reply_targets,
    run_export,
    runs,
    sessions,
    why,
)
from sessions_app.services.approval_batches import Named
from sessions_app.services.approvals import Vote
from sessions_app.services.runs import NewRun

_RANK = 2**60
"""Far above any row id, so that rank and id fit in one number that orders a list and marks a place in it."""
_SUBMIT = {"content": "Check why the deploy is stuck", "metadata": {"ticket": "4821"}}


def accepted(run: Run) -> Response:
    """Answer 202 with the run and where it can be watched."""
    headers = {"Location": f"/v1/runs/{run.run_id}"}
    return Response(projections.run_view(run), status=202, headers=headers)


class Submission(KheishView):
    """What both ways of submitting share."""

    def submit(self, request: Request, session_id: str) -> Response:
        """Accept the body as one input. Files that come along are opened before the transaction begins."""
        new = runs.prepare(NewRun(**self.body(shapes.NewRunBody)))
        return once(request, lambda: accepted(self._accept(session_id, new)))

    def _accept(self, session_id: str, new: NewRun) -> Run:
        session = sessions.get(session_id)
        if new.reply_targets:
            judged = reply_targets.judged(session, new.reply_targets, principal=self.principal)
            new = replace(new, reply_targets=judged)
        return runs.submit(session_id, new, principal=self.principal.name, session=session)


class SessionRuns(Submission):
    """``/v1/sessions/{session_id}/runs``."""

    @describe(
        "sessions_runs_create",
        "Submit work",
        status=202,
        body=shapes.NewRunBody,
        answer=shapes.RunView,
        body_example=_SUBMIT,
        example=examples.RUN,
        description=(
            "Answers at once, before any model is called; queues when the session is busy. Larger files are "
            "uploaded first (`POST /v1/assets`) and named by their id."
        ),
    )
    @keyed
    def post(self, request: Request, session_id: str) -> Response:
        """Accept a run."""
        return self.submit(request, session_id)


class SessionInput(Submission):
    """``/v1/sessions/{session_id}/input``."""

    @describe(
        "sessions_input",
        "Submit work and wait for it if asked to",
        status=202,
        body=shapes.NewRunBody,
        answer=shapes.RunView,
        body_example=_SUBMIT,
        example=examples.RUN,
        parameters=[PREFER],
        answers={200: shapes.RunView},
        description="With `Prefer: wait=N`: 200 when the run has ended, else 202 with the run as it is then.",
    )
    @keyed
    def post(self, request: Request, session_id: str) -> Response:
        """Accept a run; the wait is outside the transaction of the acceptance."""
        response = self.submit(request, session_id)
        seconds = wait_seconds(request)
        return self._settled(response, seconds) if seconds and response.status_code == 202 else response

    def _settled(self, response: Response, seconds: int) -> Response:
        row = projections.run_rows().filter(run_id=response.data["run_id"])
        busy = row.filter(status__in=[RunStatus.QUEUED, RunStatus.RUNNING])
        if not patience.until(lambda: not busy.exists(), seconds):
            return response
        run = row.get()
        response.data = projections.run_view(run)
        response.status_code = 200 if run.status in TERMINAL else 202
        response["Preference-Applied"] = f"wait={seconds}"
        return response


class Runs(KheishView):
    """``/v1/runs``."""

    query_serializer = shapes.RunQuery

    @describe(
        "runs_list",
        "List runs, newest first",
        answer=page_of(shapes.RunView),
        example=examples.page(examples.RUN),
    )
    def get(self, request: Request) -> Response:
        """One page of runs."""
        rows = filters.narrow(filters.RunFilter, self.query, projections.run_rows())
        if self.query.get("priority_active"):
            return self.page(_live_first(rows), projections.run_views, key="place")
        return self.page(rows, projections.run_views)


def _live_first(rows: QuerySet[Run]) -> QuerySet[Run]:
    rank = Case(
        When(status__in=sorted(ACTIVE), then=Value(2 * _RANK)),
        When(status__in=sorted(LIVE), then=Value(_RANK)),
        default=Value(0),
        output_field=BigIntegerField(),
    )
    # A sum of two big integers counts as a plain one, beyond which a comparison is dropped as always true.
    return rows.annotate(place=ExpressionWrapper(rank + F("id"), output_field=BigIntegerField()))


class OneRun(KheishView):
    """``/v1/runs/{run_id}``."""

    @describe("runs_get", "Get a run", answer=shapes.RunView, example=examples.RUN)
    def get(self, request: Request, run_id: str) -> Response:
        """The run."""
        return Response(projections.run_view(runs.get(run_id)))


class RunWhy(KheishView):
    """``/v1/runs/{run_id}/why``."""

    @describe(
        "runs_why",
        "Say why a run does not move",
        answer=shapes.WhyView,
        example=examples.WHY,
        description="One sentence with what it waits for, the chain behind it, and how to go on.",
    )
    def get(self, request: Request, run_id: str) -> Response:
        """The reason, or what it does now."""
        return Response(why.of(run_id).view())


class RunExport(KheishView):
    """``/v1/runs/{run_id}/export``."""

    query_serializer = shapes.ExportQuery

    @describe(
        "runs_export",
        "Export a run as one document",
        answer=shapes.RunExport,
        description=(
            "The run with its journal, tool calls, approvals, deliveries and signed external actions, and "
            "all it takes to check them offline: `audit verify FILE --public-key KEY`. With `unredacted` it "
            "holds exact arguments and results: that needs the right `view_unredacted` and is recorded."
        ),
    )
    def get(self, request: Request, run_id: str) -> LinesResponse:
        """The pieces, as they are read."""
        query = self.query
        pieces = run_export.export(
            run_id,
            principal=self.principal,
            unredacted=query["unredacted"],
            reason=query.get("reason", ""),
        )
        return LinesResponse(pieces, file_name=f"{run_id}.json", media_type="application/json")


class ToolCallExact(KheishView):
    """``/v1/tool-calls/{call_id}/unredacted``."""

    query_serializer = shapes.LookQuery

    @describe(
        "tool_calls_unredacted",
        "Look at a call unmasked",
        answer=shapes.ExactCall,
        example=examples.EXACT_CALL,
        description="Needs the right `view_unredacted`. Every look is recorded in the audit log.",
    )
    def get(self, request: Request, call_id: str) -> Response:
        """The exact arguments and result."""
        reason = self.query.get("reason", "")
        return Response(exact_looks.look(call_id, principal=self.principal, reason=reason))


class RunEvents(KheishView):
    """``/v1/runs/{run_id}/events``."""

    query_serializer = EventQuery

    @describe(
        "runs_events",
        "Page through a run's journal entries",
        answer=page_of(EventView),
        example=examples.page(examples.EVENT, order="asc"),
    )
    def get(self, request: Request, run_id: str) -> Response:
        """One page, oldest first; ``seq`` is the session's and has gaps here."""
        run = runs.get(run_id)
        total = events.count(run_pk=run.pk, kinds=self.query["kinds"])
        return journal_page(self.query, partial(events.run_page, run.pk), total=total)


class RunCancel(KheishView):
    """``/v1/runs/{run_id}/cancel``."""

    @describe(
        "runs_cancel",
        "Cancel a run",
        body=ReasonBody,
        answer=shapes.RunView,
        body_example={"reason": "not needed"},
        example=examples.RUN,
        description="A running run stops at its next boundary. A repeat is 200; 409 when it ended otherwise.",
    )
    @idempotent
    def post(self, request: Request, run_id: str) -> Response:
        """Cancel it now or soon."""
        reason = self.body(ReasonBody)["reason"]
        run = runs.cancel(run_id, principal=self.principal.name, reason=reason)
        return Response(projections.run_view(run))


class RunRetry(KheishView):
    """``/v1/runs/{run_id}/retry``."""

    @describe(
        "runs_retry",
        "Submit a run's input once more",
        status=202,
        body=shapes.RetryBody,
        answer=shapes.RunView,
        body_example={},
        example=examples.RUN,
        description=(
            "A new run of the same session, route and model, whose metadata names the old one (`again_of`). "
            "409 while that one is live. What it did outside is not undone: look at it first. It "
            "answers where the session's runs answer now."
        ),
    )
    @idempotent
    def post(self, request: Request, run_id: str) -> Response:
        """Accept the new run."""
        content = self.body(shapes.RetryBody).get("content", "")
        return accepted(runs.retry(run_id, content=content, principal=self.principal.name))


class RunApprovals(KheishView):
    """``/v1/runs/{run_id}/approvals``."""

    @describe(
        "runs_approvals_resolve",
        "Decide several approvals of a run together",
        status=202,
        body=shapes.ResolutionsBody,
        answer=shapes.RunView,
        body_example=examples.RESOLUTIONS,
        example=examples.RUN,
    )
    @idempotent
    def post(self, request: Request, run_id: str) -> Response:
        """All or none."""
        votes = _votes(self.body(shapes.ResolutionsBody))
        return accepted(approval_batches.resolve_for_run(run_id, votes, principal=self.principal))


class SessionApprovals(KheishView):
    """``/v1/sessions/{session_id}/approvals``."""

    @describe(
        "sessions_approvals_resolve",
        "Decide several approvals of the waiting run together",
        status=202,
        body=shapes.ResolutionsBody,
        answer=shapes.RunView,
        body_example=examples.RESOLUTIONS,
        example=examples.RUN,
    )
    @idempotent
    def post(self, request: Request, session_id: str) -> Response:
        """All or none."""
        votes = _votes(self.body(shapes.ResolutionsBody))
        return accepted(approval_batches.resolve_for_session(session_id, votes, principal=self.principal))


def _votes(body: dict) -> list[Named]:
    return [(str(item.pop("approval_id")), Vote(**item)) for item in map(dict, body["resolutions"])]

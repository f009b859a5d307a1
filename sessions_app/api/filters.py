"""What the list endpoints can be narrowed to. Values arrive validated by the query serializers."""

from typing import Any

import django_filters as filters
from django.db.models import Q, QuerySet

from sessions_app.models import (
    Approval,
    AuditEntry,
    ExternalAction,
    OperatorDecision,
    Run,
    RunStatus,
    Session,
    ShellTask,
    UserQuestion,
)
from sessions_app.services import projections


class SessionFilter(filters.FilterSet):
    """Sessions by bound persona, status and a part of their id."""

    persona_id = filters.CharFilter("persona__persona__persona_id")
    status = filters.CharFilter(method="by_status")
    q = filters.CharFilter(method="by_text")

    class Meta:
        model = Session
        fields: list[str] = []

    def by_status(self, rows: QuerySet[Session], name: str, value: str) -> QuerySet[Session]:
        """Keep those whose view shows this status."""
        return projections.with_status(rows, value)

    def by_text(self, rows: QuerySet[Session], name: str, value: str) -> QuerySet[Session]:
        """Keep those whose id or thread id contains the text, in any case."""
        return rows.filter(Q(session_id__icontains=value) | Q(thread_id__icontains=value))


class RunFilter(filters.FilterSet):
    """Runs by session, status, kind, route and persona."""

    session_id = filters.CharFilter("session__session_id")
    status = filters.MultipleChoiceFilter(choices=RunStatus.choices)
    kind = filters.CharFilter()
    route_id = filters.CharFilter()
    persona_id = filters.CharFilter("persona__persona__persona_id")

    class Meta:
        model = Run
        fields: list[str] = []


class _WaitingFilter(filters.FilterSet):
    session_id = filters.CharFilter("session__session_id")
    run_id = filters.CharFilter("run__run_id")
    status = filters.CharFilter()


class ApprovalFilter(_WaitingFilter):
    """Approvals by session, run, status, tool and risk."""

    tool_name = filters.CharFilter()
    risk = filters.CharFilter()

    class Meta:
        model = Approval
        fields: list[str] = []


class QuestionFilter(_WaitingFilter):
    """Questions by session, run and status."""

    class Meta:
        model = UserQuestion
        fields: list[str] = []


class DecisionFilter(_WaitingFilter):
    """Operator decisions by session, run, status and tool."""

    tool_name = filters.CharFilter("tool_call__tool_name")

    class Meta:
        model = OperatorDecision
        fields: list[str] = []


class TaskFilter(filters.FilterSet):
    """Tasks by status."""

    status = filters.CharFilter()

    class Meta:
        model = ShellTask
        fields: list[str] = []


class ExternalActionFilter(filters.FilterSet):
    """Signed records by session, run and kind."""

    session_id = filters.CharFilter()
    run_id = filters.CharFilter()
    kind = filters.CharFilter()

    class Meta:
        model = ExternalAction
        fields: list[str] = []


class AuditLogFilter(filters.FilterSet):
    """Audit entries by who, what and of which object."""

    principal = filters.CharFilter()
    action = filters.CharFilter()
    object_kind = filters.CharFilter()
    object_id = filters.CharFilter()

    class Meta:
        model = AuditEntry
        fields: list[str] = []


def narrow(kind: type[filters.FilterSet], query: dict[str, Any], rows: QuerySet[Any]) -> QuerySet[Any]:
    """Return ``rows`` narrowed to what ``query`` asks for."""
    return kind(query, queryset=rows).qs

"""What people and programs see of a row: one projection for lists, details, command line and admin.

Every function takes rows and returns plain JSON values, redacted, with a fixed number of queries
however many rows there are. Optional members are left out while they are unknown.
"""

from sessions_app.services.projections.assets import asset_view, asset_views, reference_view
from sessions_app.services.projections.audits import audit_view, audits
from sessions_app.services.projections.runs import run_rows, run_view, run_views
from sessions_app.services.projections.sessions import (
    SESSION_STATUSES,
    session_rows,
    session_view,
    session_views,
    with_status,
)
from sessions_app.services.projections.tasks import task_rows, task_view
from sessions_app.services.projections.waiting import (
    approval_rows,
    approval_view,
    decision_rows,
    decision_view,
    question_rows,
    question_view,
)

__all__ = [
    "SESSION_STATUSES",
    "approval_rows",
    "approval_view",
    "asset_view",
    "asset_views",
    "audit_view",
    "audits",
    "decision_rows",
    "decision_view",
    "question_rows",
    "question_view",
    "reference_view",
    "run_rows",
    "run_view",
    "run_views",
    "session_rows",
    "session_view",
    "session_views",
    "task_rows",
    "task_view",
    "with_status",
]

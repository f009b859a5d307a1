"""A small world for fuzzed requests to act on: one object of each kind, and the ids that name them."""

from dataclasses import dataclass, field

from connectors_app.services.observations import schedules
from connectors_app.services.observations.schedules import NewSchedule
from sessions_app.models import RunStatus
from tests.connectors_app.observations.rows import make_source, see
from tests.connectors_app.outbound import dead_letter
from tests.connectors_app.people import make_connector, make_person
from tests.factories import make_asset, make_client, make_persona, make_secret
from tests.sessions_app.api.rows import (
    ask_approvals,
    ask_decision,
    ask_question,
    make_run,
    make_session,
    make_task,
    move,
    record_action,
)


@dataclass
class World:
    """Ids by the name of the path parameter or query member they may stand for, and who asks."""

    authorization: str
    upload_authorization: str = ""
    ids: dict[str, list[str]] = field(default_factory=dict)

    def authorization_for(self, method: str, path: str) -> str:
        """Return who asks: a device uploads, an admin does everything else."""
        uploads = method.upper() == "POST" and path.endswith("/observations")
        return self.upload_authorization if uploads else self.authorization


def make_world() -> World:
    """Make the rows through the services."""
    client = make_client("admin")
    make_persona()
    make_secret()
    desk = make_session("desk", persona_id="reviewer")
    waiting, (approval,) = ask_approvals(desk)
    queued = make_run(desk)
    _, question = ask_question(make_session("asks"))
    _, decision = ask_decision(make_session("doubts"))
    running = move(make_run(make_session("busy")), RunStatus.RUNNING)
    task = make_task(running, "output\n")
    make_person(make_connector("ops", "slack"), "U1", "alice")
    record_action(queued)
    source, token = make_source()
    seen = see(source)
    look = schedules.create(
        source, NewSchedule(session_id="desk", prompt="Look.", interval_seconds=60), principal="alice"
    )
    delivery = dead_letter(desk)
    ids = {
        "source_id": [source.source_id],
        "observation_id": [seen.observation_id],
        "schedule_id": [look.schedule_id],
        "session_id": ["desk", "asks", "doubts", "busy"],
        "run_id": [waiting.run_id, queued.run_id, running.run_id],
        "approval_id": [approval.approval_id],
        "question_id": [question.question_id],
        "decision_id": [decision.decision_id],
        "task_id": [task.task_id],
        "asset_id": [make_asset().asset_id],
        "persona_id": ["reviewer"],
        "route_id": ["scripted"],
        "slot_id": ["main-key"],
        "delivery_id": [delivery.delivery_id],
        "digest": [delivery.target.digest],
        "kind": ["slack"],
        "name": ["ops"],
        "external_id": ["U1"],
        "bucket": ["desk"],
    }
    return World(
        authorization=client._credentials["HTTP_AUTHORIZATION"],
        upload_authorization=f"Bearer {token}",
        ids=ids,
    )

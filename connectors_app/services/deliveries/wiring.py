"""What deliveries register on the core's ports, at start."""

from connectors_app.services import handles, identities, receipts, reply_targets
from connectors_app.services.deliveries import health, queue, retention, shown, targets
from connectors_app.services.deliveries.pump import Pump
from sessions_app.services import ports


def connect() -> None:
    """Register everything. Called once, from ``ConnectorsConfig.ready``."""
    ports.on_output(queue.output_emitted)
    ports.register_background(Pump)
    ports.register_run_part("deliveries", shown.of_run)
    ports.register_run_part("events", receipts.of_run)
    ports.register_asker(identities.asked_for)
    ports.on_burial(targets.expire_owned_by)
    ports.register_reply_target_judge(reply_targets.judged)
    ports.register_lasting_targets(handles.lasting)
    ports.register_status("deliveries", health.status_part)
    ports.register_session_need(retention.unsettled)
    ports.on_session_purged(retention.session_purged)
    ports.register_purge("deliveries", retention.purge, batch=retention.BATCH)
    ports.register_reseal(retention.reseal)

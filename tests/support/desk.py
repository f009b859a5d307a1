"""One of everything for the console to show, made by the services: connectors, events, deliveries, captures.

``fill()`` in a test, or ``python -m tests.support.desk`` beside a running service (``KHEISH_STATE_DIR``).
What would leave is settled or paused in the transaction that makes it, so that no worker sends it.
"""

from datetime import timedelta
from typing import Any

SECRET = "canary-desk-4711"
"""Part of every secret and every address: no page may show it."""


def fill() -> dict[str, str]:
    """Make the rows; return the pages to open by name, each a path."""
    from sessions_app.services import assets, routes, sessions
    from sessions_app.services.routes import RouteFields

    if not routes.default():
        options = {"script": {"turns": [{"text": "done"}]}}
        routes.create(
            "desk-script", RouteFields(driver="scripted", model="script", options=options), default=True
        )
    desk, _ = sessions.create(sessions.NewSession(session_id="desk"), principal="alice")
    stored = assets.store(
        b"# All is well\n", media_type="text/markdown", file_name="a" * 120 + ".md", principal="alice"
    )
    _connectors()
    _events()
    _deliveries(desk, stored.asset_id)
    _captures()
    _transports()
    return pages()


def pages() -> dict[str, str]:
    """Return a list page of every table of connectors and captures, and the page of every row of them."""
    from django.apps import apps
    from django.urls import reverse

    from sessions_app.admin import addresses
    from sessions_app.models import ActionChain, Asset, AssetBlob, AssetReference, ExternalAction

    found: dict[str, str] = {}
    models = [*apps.get_app_config("connectors_app").get_models()]
    for model in [*models, Asset, AssetReference, AssetBlob, ExternalAction, ActionChain]:
        name = f"{model._meta.app_label}_{model._meta.model_name}"
        found[str(model._meta.model_name)] = reverse(f"admin:{name}_changelist")
        for row in model._default_manager.order_by("pk")[:8]:
            found[f"{model._meta.model_name}-{row.pk}"] = addresses.of(row)
    return found


def _connectors() -> None:
    from connectors_app.services import connectors, identities
    from sessions_app.services import tokens
    from sessions_app.services.principal import SYSTEM

    def put(kind: str, name: str, settings: dict[str, Any], **secrets: str) -> Any:
        values = {field: {"value": f"{SECRET}-{value}"} for field, value in secrets.items()}
        return connectors.put(kind, name, settings, values, principal="alice")[0]

    put("http", "alerts", {}, bearer_token="b")
    put("http", "quiet", {}, bearer_token="q")
    put(
        "external", "mail", {"platform": "email", "base_url": "https://sidecar.example.org"}, shared_token="s"
    )
    put("telegram", "rollcall", {}, bot_token="1:t", secret_token="w")
    slack = put("slack", "ops", {}, bot_token="xoxb-t", signing_secret="g")
    connectors.set_paused("telegram", "rollcall", True, principal="alice")
    connectors.set_enabled("http", "quiet", False)
    tokens.create("olga", role="operator", rights=["decide_high_risk"])
    identities.put(slack, "U2147483697", principal="olga", role="operator", by=SYSTEM)


def _events() -> None:
    from connectors_app.services import connectors, ingress
    from connectors_app.services.contracts import InboundEvent
    from kheish_site.lib.canonical import sha256_hex
    from kheish_site.lib.errors import Unauthorized

    alerts = connectors.get("http", "alerts")
    for number, key in enumerate(("alert-1", "alert-1", "k" * 200)):
        ingress.accept(
            alerts,
            InboundEvent(
                key=key, fingerprint=sha256_hex(key), actor_id="pager", source_kind="alert",
                content=f"Checkout is slow ({number})", natural_session_id="incident-4821",
                binding_keys=(f"pager:{number}",),
            ),
        )  # fmt: skip
    ingress.note_refusal(
        alerts, Unauthorized("the bearer token is not the connector's", code="ingress_unauthorized")
    )


def _deliveries(session: Any, asset_id: str) -> None:
    from connectors_app.models import DeliveryTarget
    from connectors_app.services.contracts import Ambiguous, Refused, RetryLater, Sent
    from connectors_app.services.deliveries import claims, enqueue
    from kheish_site.lib import clock
    from kheish_site.lib.transactions import locked, write
    from sessions_app.models import Session

    outcomes = {
        "pending": None,
        "retrying": RetryLater("status", "the target answered 503"),
        "delivered": Sent(reference="C024BE91L:1355517523.000005", detail={"status": 200}),
        "dead": Refused("terminal", "the target answered 410 " + "and said why at length, " * 12),
        "unknown": Ambiguous("timeout", "the target did not answer in time"),
    }
    for name, outcome in outcomes.items():
        handle = {"plugin": "http", "address": {"url": f"https://{name}.example.org/{SECRET}"}}
        with write():
            locked(Session.objects.filter(pk=session.pk)).first()
            (row,) = enqueue(
                session, None, targets=[handle], key=f"desk:{name}", attachments=[asset_id],
                content=f"{name}: the deploy is unstuck again. " * 6, parts=[{"text": "one part"}],
            )  # fmt: skip
            work = claims.take(row.target_id, "desk") if outcome is not None else None
            if work is None:
                DeliveryTarget.objects.filter(pk=row.target_id).update(
                    paused_at=clock.now(), paused_by="alice"
                )
        if work is not None and outcome is not None:
            claims.settle(work, outcome, go_on=False)
            DeliveryTarget.objects.filter(pk=row.target_id).update(paused_at=clock.now(), paused_by="alice")


def _captures() -> None:
    from connectors_app.services.observations import materialize, schedules, sources, uploads
    from connectors_app.services.observations.materialize import Order
    from connectors_app.services.observations.schedules import NewSchedule
    from connectors_app.services.observations.selection import Selection
    from connectors_app.services.observations.sources import SourceFields
    from connectors_app.services.observations.uploads import Upload

    source, _ = sources.create("desk-notes", "text_snapshot", SourceFields(), principal="alice")
    for number in range(2):
        data = f"the screen said {number}".encode()
        uploads.accept(
            source, Upload(key=f"k-{number}", media_type="text/plain", data=data, file_name="n.txt")
        )
    chosen = Selection(selector={"type": "latest_from_source", "source_id": "desk-notes"})
    new = NewSchedule(session_id="desk", prompt="Look, and tell me what changed.", interval_seconds=86_400)
    schedules.create(source, new, principal="alice")
    materialize.materialize(Order(session_id="desk", prompt="Look.", chosen=chosen), principal="alice")


def _transports() -> None:
    """What only a running transport writes: its rows are made by hand."""
    from connectors_app.models import ConnectorLease, SidecarState, TelegramAcknowledgement, TelegramOffset
    from connectors_app.services import connectors
    from kheish_site.lib import clock

    mail, bot, now = connectors.get("external", "mail"), connectors.get("telegram", "rollcall"), clock.now()
    SidecarState.objects.create(
        connector=mail, status="backoff", instance_id="mail-1", restarts=3, worker="worker-1", pid=4711,
        manifest={"protocol_version": 1, "capabilities": {"attachments_out": True}}, since=now,
        last_error="the sidecar ended with status 1 before it was ready; its last line was: no route to host",
    )  # fmt: skip
    ConnectorLease.objects.create(
        lease_id="lease_01M8BVXF2YM355NE787G46DAFE", grant_id="grant_01M8BVXF2YM355NE787G46DAFE",
        connector=mail, token_hash="0" * 64, slots={"MAIL_TOKEN": "mail"}, issued_at=now,
        expires_at=now + timedelta(minutes=5),
    )  # fmt: skip
    TelegramOffset.objects.create(connector=bot, bot_id="1", next_update_id=42, saved_at=now)
    TelegramAcknowledgement.objects.create(connector=bot, query_id="q-1", acknowledged_at=now)


if __name__ == "__main__":
    import json

    import django

    django.setup()
    print(json.dumps(fill()))

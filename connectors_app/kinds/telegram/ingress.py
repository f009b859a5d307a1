"""Taking in one update, the same way for webhook and polling.

The order matters: a repeat is recognised before files are fetched, and a press is acknowledged after its
effect is durable.
"""

from dataclasses import dataclass
from typing import Any, Final

from connectors_app.kinds.telegram import acknowledge, files, updates
from connectors_app.kinds.telegram.api import Bot, bot_of
from connectors_app.kinds.telegram.updates import Skipped, Update
from connectors_app.models import Connector
from connectors_app.services import button_data, chat_actions
from connectors_app.services import ingress as door
from connectors_app.services.contracts import InboundEvent
from kheish_site.lib.canonical import digest
from kheish_site.lib.errors import BadRequest, KheishError
from kheish_site.lib.transactions import release_connection

LONGEST_TEXT: Final = 20_000
_OF_FILES: Final = frozenset({"assets"})
"""Domains of refusals that concern the files, not the event."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What became of an update: a run (``accepted``), a decision (``decided``), or nothing (``reason``)."""

    update_id: int
    accepted: door.Accepted | None = None
    decided: str = ""
    reason: str = ""


def take(connector: Connector, payload: Any, *, without_files: str = "") -> Taken:
    """Take in one update. Calls Telegram for files and presses, so no transaction may be open.

    ``without_files`` is the reason not to fetch its files; the input then names them instead.
    Raises: BadRequest, Conflict, RateLimited, Unavailable as ``services.ingress`` and ``files`` do.
    """
    try:
        update = updates.read(payload)
    except Skipped as skipped:
        return Taken(update_id=skipped.update_id, reason=skipped.reason)
    _check_chat(connector, update)
    bot = bot_of(connector)
    if bot is not None and update.kind != "callback_query" and update.actor_id == bot.bot_id:
        return Taken(update_id=update.update_id, reason="own_message")
    if update.query_id and button_data.is_ours(update.text):
        outcome = chat_actions.perform(connector, update.actor_id, update.text)
        release_connection()
        acknowledge.once(connector, bot, update, text=outcome.text, settled=outcome.settled)
        return Taken(update_id=update.update_id, decided=outcome.text)
    accepted = door.seen(connector, _receipt_key(connector, bot, update), digest(payload))
    if accepted is None:
        accepted = _accepted(connector, bot, update, payload, without_files)
    if update.query_id:
        release_connection()
        acknowledge.once(connector, bot, update)
    return Taken(update_id=update.update_id, accepted=accepted)


def event_of(
    connector: Connector,
    bot: Bot | None,
    update: Update,
    payload: Any,
    items: list[dict[str, Any]],
    lines: list[str],
) -> InboundEvent:
    """Return the neutral form of an update; ``items`` are its files, ``lines`` name the missing ones."""
    settings = connector.settings
    key, fingerprint = f"telegram:{connector.name}:{update.update_id}", digest(payload)
    topic = f":{update.topic_id}" if update.topic_id else ""
    natural = f"telegram:{connector.name}:{update.chat_id}{topic}"
    text = "\n".join(part for part in (update.text[:LONGEST_TEXT].strip("\n"), *lines) if part.strip())
    if items:
        items = [{"type": "text", "text": text}, *items] if text else items
    return InboundEvent(
        key=key,
        receipt_key=_receipt_key(connector, bot, update),
        fingerprint=fingerprint,
        actor_id=update.actor_id,
        source_kind=connector.name if update.kind == "message" else update.kind,
        content="" if items else text,
        input_items=tuple(items),
        metadata={
            "connector_ingress_key": key,
            "telegram_ingress_fingerprint": fingerprint,
            "telegram_update": payload,
        },
        binding_keys=(natural, *settings.get("additional_binding_keys", ())),
        natural_session_id=natural,
        reply_targets=tuple(_reply_targets(connector, update)),
    )


def _receipt_key(connector: Connector, bot: Bot | None, update: Update) -> str:
    """Return the name of an update among the connector's receipts.

    Each bot counts its own updates, and a connector may change bots: made again under its name, or given
    another token. A bot keeps its id when its token is renewed.
    """
    whose = f"{bot.bot_id}:" if bot is not None else ""
    return f"telegram:{connector.name}:{whose}{update.update_id}"


def _reply_targets(connector: Connector, update: Update) -> list[dict[str, Any]]:
    targets: list[dict[str, Any]] = []
    if connector.settings.get("include_self_output", True):
        address: dict[str, Any] = {"connector": connector.name, "chat_id": update.chat_id}
        if update.topic_id:
            address["message_thread_id"] = update.topic_id
        address["reply_to_message_id"] = update.message_id
        targets.append({"plugin": "telegram", "address": address})
    return targets + list(connector.settings.get("additional_reply_targets", ()))


def _check_chat(connector: Connector, update: Update) -> None:
    allowed = connector.settings.get("allowed_chat_ids") or ()
    if allowed and str(update.chat_id) not in allowed:
        raise BadRequest(
            "the chat is not one of allowed_chat_ids",
            code="telegram_chat_not_allowed",
            domain="connector_ingress",
        )


def _accepted(
    connector: Connector, bot: Bot | None, update: Update, payload: Any, without_files: str
) -> door.Accepted:
    """Fetch the files and accept the event, without its files when the store refuses them."""
    if not update.files or without_files:
        lines = [file.line(without_files) for file in update.files]
        return door.accept(connector, event_of(connector, bot, update, payload, [], lines))
    release_connection()
    items, lines = files.fetch(bot, update.files)
    try:
        return door.accept(connector, event_of(connector, bot, update, payload, items, lines))
    except KheishError as error:
        if not items or error.status >= 500 or error.error_domain not in _OF_FILES:
            raise
        lines = [file.line(error.detail) for file in update.files]
        return door.accept(connector, event_of(connector, bot, update, payload, [], lines))

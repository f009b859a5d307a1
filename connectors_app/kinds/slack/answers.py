"""Showing the outcome of a click in Slack: one recorded, best-effort request to its ``response_url``."""

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
from django.db import connection

from connectors_app.kinds.slack.settings import Options, options
from connectors_app.kinds.slack.web import is_private, same_origin
from connectors_app.models import Connector
from connectors_app.services import outbound, webhook_answers
from connectors_app.services.contracts import SendFailure
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.transactions import release_connection
from sessions_app.models import ActionPhase
from sessions_app.services.external_actions import LedgerUnavailable

logger = logging.getLogger(__name__)
ANSWER_SECONDS: Final = 10.0
_RESPONSE_HOST: Final = "hooks.slack.com"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What Slack is to show after a click, and the address to send it to."""

    url: str
    body: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.body, ensure_ascii=False).encode()


def may_answer(config: Options, url: str) -> bool:
    """Tell whether ``url`` may be answered at: a response address of Slack's, or the API's own origin."""
    try:
        parts = httpx.URL(url)
        host = parts.host  # decodes a name like xn--…, which may be invalid
    except (httpx.InvalidURL, ValueError):
        return False
    usual = parts.scheme == "https" and host == _RESPONSE_HOST and parts.port is None
    return (usual and not parts.userinfo) or same_origin(url, config.api_base_url)


def answer_later(connector: Connector, reply: Reply) -> None:
    """Send ``reply`` from a thread of its own; a failure is only logged.

    First records it in a transaction of its own: no record, no request.
    """
    extra = {"action": "slack.answer", "connector": str(connector)}
    if not may_answer(options(connector), reply.url):
        logger.warning("no address to answer a click at", extra=extra)
        return
    try:
        webhook_answers.record(connector, phase=ActionPhase.STARTED, request_digest=sha256_hex(reply.content))
    except LedgerUnavailable as error:
        logger.error("a click was not shown", extra={**extra, "reason": error.detail})
        return
    threading.Thread(target=_run, args=(connector, reply), name="slack-answer", daemon=True).start()


def _run(connector: Connector, reply: Reply) -> None:
    """The thread's body."""
    extra = {"action": "slack.answer", "connector": str(connector)}
    try:
        outcome = _answer(options(connector), reply)
        if outcome != "succeeded":
            logger.warning("a click was not shown", extra={**extra, "reason": outcome})
        webhook_answers.record(
            connector, phase=ActionPhase.FINISHED, request_digest=sha256_hex(reply.content), outcome=outcome
        )
    except Exception:  # the edge
        logger.exception("a click was not shown", extra=extra)
    finally:
        connection.close()


def _answer(config: Options, reply: Reply) -> str:
    """Send the request; return its outcome for the record."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    release_connection()
    try:
        answer = outbound.exchange(
            httpx.Request("POST", reply.url, headers=headers, content=reply.content),
            allow_private=is_private(reply.url, config),
            timeout_seconds=ANSWER_SECONDS,
        )
    except SendFailure as failure:
        return f"failed:{failure.error_class}"
    return "succeeded" if answer.status == 200 else f"failed:status_{answer.status}"

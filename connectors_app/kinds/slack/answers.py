"""What Slack shows of a click: one request to its ``response_url``, on record, as well as it goes."""

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
    """What is shown of a click, and where to."""

    url: str
    body: Mapping[str, Any]

    @property
    def content(self) -> bytes:
        """The body as it is sent."""
        return json.dumps(self.body, ensure_ascii=False).encode()


def may_answer(said: Options, url: str) -> bool:
    """Tell whether ``url`` is a response address: Slack's own, or where the API is."""
    try:
        parts = httpx.URL(url)
        host = parts.host  # reads a name like xn--…, which may be none
    except (httpx.InvalidURL, ValueError):
        return False
    usual = parts.scheme == "https" and host == _RESPONSE_HOST and parts.port is None
    return (usual and not parts.userinfo) or same_origin(url, said.api_base_url)


def answer_later(connector: Connector, reply: Reply) -> None:
    """Show ``reply`` from a thread of its own; what fails is logged and nothing else.

    Opens the transaction that puts it on record first. No record, no request.
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


def _answer(said: Options, reply: Reply) -> str:
    """Send the request; return its outcome for the record."""
    headers = {"Content-Type": "application/json; charset=utf-8"}
    release_connection()
    try:
        answer = outbound.exchange(
            httpx.Request("POST", reply.url, headers=headers, content=reply.content),
            allow_private=is_private(reply.url, said),
            timeout_seconds=ANSWER_SECONDS,
        )
    except SendFailure as failure:
        return f"failed:{failure.error_class}"
    return "succeeded" if answer.status == 200 else f"failed:status_{answer.status}"

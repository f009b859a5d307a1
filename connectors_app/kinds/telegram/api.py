"""Calls of the Bot API. The token is part of every address, so no address is ever shown or logged."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

import httpx

from connectors_app.kinds.telegram.settings import PUBLIC_API
from connectors_app.models import Connector
from connectors_app.services import connectors, outbound
from connectors_app.services.contracts import Ambiguous, Refused, RetryLater
from kheish_site.lib.redaction import MASK, redact, register_secret

CALL_SECONDS: Final = 15.0
UPLOAD_SECONDS: Final = 60.0
_LARGEST_ANSWER: Final = 8 * 1024 * 1024
_LONGEST_DESCRIPTION: Final = 200


class ApiRefused(Refused):
    """Telegram understood the call and refused it. ``description`` is Telegram's own text."""

    def __init__(self, message: str, *, status: int, description: str) -> None:
        super().__init__("terminal", message)
        self.status = status
        self.description = description


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file that goes with a call, under the parameter ``name``."""

    name: str
    file_name: str
    media_type: str
    content: bytes = field(repr=False)


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Bot:
    """One bot at one Bot API server."""

    base_url: str
    token: str = field(repr=False)

    @property
    def bot_id(self) -> str:
        """The bot's own user id, the public part of its token."""
        return self.token.partition(":")[0]

    def call(
        self,
        method: str,
        parameters: Mapping[str, Any],
        *,
        upload: Upload | None = None,
        timeout_seconds: float = CALL_SECONDS,
        is_cancelled: Callable[[], bool] = _never,
    ) -> Any:
        """Call ``method`` once and return its result. No transaction may be open.

        Raises: Refused (ApiRefused when Telegram itself refuses), RetryLater, Ambiguous.
        """
        body: dict[str, Any]
        if upload is None:
            body = {"json": dict(parameters)}
        else:
            texts = {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in parameters.items()
            }
            file = (upload.file_name, upload.content, upload.media_type)
            body = {"data": texts, "files": {upload.name: file}}
        place = f"{self._name()}/{quote(method)}"
        answer = self._exchange("POST", place, body, timeout_seconds, _LARGEST_ANSWER, is_cancelled)
        return self._result(method, answer)

    def download(self, file_path: str, *, limit_bytes: int, timeout_seconds: float) -> bytes:
        """Return a file's bytes, cut after ``limit_bytes``. Raises: Refused, RetryLater, Ambiguous."""
        place = f"file/{self._name()}/{quote(file_path)}"
        answer = self._exchange("GET", place, {}, timeout_seconds, limit_bytes, _never)
        if answer.status != 200:
            raise self._failure("download", answer.status, "", answer.retry_after_seconds)
        return answer.body

    def _name(self) -> str:
        return f"bot{quote(self.token, safe=':')}"

    def _exchange(
        self,
        verb: str,
        place: str,
        body: dict[str, Any],
        timeout_seconds: float,
        limit_bytes: int,
        is_cancelled: Callable[[], bool],
    ) -> outbound.Answer:
        try:
            request = httpx.Request(verb, f"{self.base_url}/{place}", **body)
        except (httpx.InvalidURL, ValueError, TypeError):
            raise Refused("terminal", "the request cannot be written; check api_base_url") from None
        return outbound.exchange(
            request,
            allow_private=self.base_url != PUBLIC_API,
            timeout_seconds=timeout_seconds,
            limit_bytes=limit_bytes,
            is_cancelled=is_cancelled,
        )

    def _result(self, method: str, answer: outbound.Answer) -> Any:
        body = _object(answer.body)
        if answer.status == 200 and body.get("ok") is True and "result" in body:
            return body["result"]
        code = body.get("error_code")
        status = code if isinstance(code, int) and body.get("ok") is False else answer.status
        hints = body.get("parameters")
        hints = hints if isinstance(hints, dict) else {}
        wait = hints.get("retry_after")
        seconds = float(wait) if isinstance(wait, int) else answer.retry_after_seconds
        description = str(body.get("description") or "")
        if "migrate_to_chat_id" in hints:
            description += f" (the chat is now {hints['migrate_to_chat_id']})"
        raise self._failure(method, int(status), description, seconds)

    def _failure(self, method: str, status: int, description: str, wait: float | None) -> Exception:
        reason = f"Telegram {method}: {status} {self._shown(description)}".rstrip()
        if status == 429:
            seconds = min(max(1.0 if wait is None else wait, 1.0), outbound.LONGEST_RETRY_AFTER_SECONDS)
            return RetryLater("rate_limited", reason, retry_after_seconds=seconds)
        if status == 408 or status >= 500:
            return RetryLater("status", reason, retry_after_seconds=wait)
        if 200 <= status < 300 or status < 100:
            return Ambiguous("decode", f"Telegram {method}: an answer that cannot be understood")
        return ApiRefused(reason, status=status, description=self._shown(description))

    def _shown(self, text: str) -> str:
        plain = " ".join(text.replace(self.token, MASK).split())
        return str(redact(plain))[:_LONGEST_DESCRIPTION]


def bot_of(connector: Connector) -> Bot | None:
    """Return the connector's bot, or None when it has no token. Needs the database."""
    token = connectors.secret(connector, "bot_token").strip()
    if not token:
        return None
    register_secret(f"connectors.{connector}.bot_token", token)
    return Bot(base_url=str(connector.settings.get("api_base_url") or PUBLIC_API), token=token)


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

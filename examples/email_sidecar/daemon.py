"""The service as the sidecar sees it: events in, credentials by lease, the files of a delivery."""

import hashlib
import http.client
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from settings import Settings

LARGEST_ANSWER: Final = 1_048_576
_SECONDS: Final = 30.0
_ASIDE: Final = "protocol_version"


class DaemonAway(Exception):
    """The service cannot be asked now; ``retry_seconds`` says when to try again."""

    def __init__(self, message: str, *, retry_seconds: float = 5.0) -> None:
        super().__init__(message)
        self.retry_seconds = retry_seconds


class DaemonRefused(Exception):
    """The service answered, and what is asked for is not to be had. ``status`` is that of HTTP, if any."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *details: Any) -> None:
        return None


class Daemon:
    """One service and one connector of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._base = f"{settings.daemon_url}/v1/connectors/external/{urllib.parse.quote(settings.name)}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())

    def push(self, event: dict[str, Any]) -> dict[str, Any]:
        """Hand in one event; return the answer, ``status`` and the rest. Raises: DaemonAway, DaemonRefused.

        A service that does not know protocol version 2 is told the same in version 1.
        """
        answer = self._push(event)
        if answer.get("status") == "rejected" and str(answer.get("reason", "")).startswith(_ASIDE):
            answer = self._push({**event, "protocol_version": 1})
        return answer

    def credential(self, key: str) -> str:
        """Return a password: from the service by lease, or from the environment when started by hand.

        Raises: DaemonAway, DaemonRefused.
        """
        if key not in self._settings.credential_keys:
            return os.environ.get(key, "")
        url = f"{self._base}/credentials/{urllib.parse.quote(key)}"
        answer = _object(self._ask("GET", url, self._settings.lease_token, limit=LARGEST_ANSWER))
        return str(answer["value"])

    def download(self, path: str, *, limit: int, sha256: str = "") -> bytes:
        """Return the bytes of an attachment of a delivery on its way. Raises: DaemonAway, DaemonRefused."""
        if not path.startswith("/v1/"):
            raise DaemonRefused("the download path leads elsewhere")
        url = self._settings.daemon_url + path
        data = self._ask("GET", url, self._settings.shared_token, limit=limit + 1)
        if len(data) > limit:
            raise DaemonRefused("the attachment is larger than was said")
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise DaemonAway("the attachment did not arrive whole")
        return data

    def _push(self, event: dict[str, Any]) -> dict[str, Any]:
        # Escapes would make a text of other letters up to three times as long.
        data = json.dumps(event, ensure_ascii=False).encode()
        return _object(
            self._ask("POST", f"{self._base}/events", self._settings.shared_token, data, limit=LARGEST_ANSWER)
        )

    def _ask(self, method: str, url: str, token: str, data: bytes | None = None, *, limit: int) -> bytes:
        headers = {"Content-Type": "application/json"} if data is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=_SECONDS) as answer:
                return bytes(answer.read(limit))
        except urllib.error.HTTPError as error:
            with error:
                said = error.read(2000).decode("utf-8", "replace")
            if error.code == 429 or error.code >= 500:
                pause = error.headers.get("Retry-After", "")
                raise DaemonAway(
                    f"{error.code}: {said}", retry_seconds=float(pause) if pause.isdigit() else 5.0
                ) from None
            raise DaemonRefused(f"{error.code}: {said}", status=error.code) from None
        except (OSError, http.client.HTTPException) as error:
            raise DaemonAway(f"not reached: {error}") from None


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError:
        raise DaemonAway("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise DaemonAway("the answer is no object")
    return value

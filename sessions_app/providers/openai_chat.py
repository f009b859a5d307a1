"""Driver ``openai``: any server that speaks OpenAI's chat completions, through the ``openai`` package.

Always streaming. The package's own retries are off, since a retry nobody sees cannot be journalled.
Options of a route: ``{connect,read,total}_timeout_seconds``, ``context_window``, ``images``, ``headers``,
``extra_body``.
"""

import functools
import json
import logging
import re
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai

from sessions_app.providers import http_client, json_protocol, openai_errors, openai_request
from sessions_app.providers.base import Cancelled, Endpoint, Part, ProviderError, Request, Timeouts
from sessions_app.providers.openai_events import EventStream
from sessions_app.providers.openai_stream import ChunkReader
from sessions_app.providers.watch import CallStopped, Watch

logger = logging.getLogger(__name__)

DEFAULT_BASE_URL = "https://api.openai.com/v1"
LONGEST_PLAIN_ANSWER_BYTES = 8 * 1024 * 1024
SHORTEST_SECRET = 8
"""Characters of a header's value; a shorter one would be found in every other message."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_HEADER_VALUE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding"})

# What may come out of the package: its own errors, httpx's where it forgets to wrap them, and what the
# JSON decoder says to answers that are not JSON or nest without end.
_FAILURES = (
    openai.OpenAIError,
    httpx.HTTPError,
    httpx.StreamError,
    httpx.InvalidURL,
    ValueError,
    RecursionError,
    CallStopped,
)


class OpenAIChat:
    """A ``Provider`` for one endpoint; cheap to make, safe to share between threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._limits = endpoint.limits()
        self._options = endpoint.options
        self._base_url = endpoint.base_url.rstrip("/") or DEFAULT_BASE_URL
        for problem in problems(endpoint):
            raise ProviderError("invalid", problem)
        headers = {str(name): str(value) for name, value in (endpoint.options.get("headers") or {}).items()}
        self._secrets = (endpoint.api_key, *_told_apart(headers.values()))
        self._client = _client(
            self._base_url, endpoint.api_key, tuple(headers.items()), self._limits, http_client.shared()
        )
        # A local server may want no key, and must not get a made-up one.
        self._extra_headers = {} if endpoint.api_key else {"Authorization": openai.Omit()}

    def stream(self, request: Request, *, cancelled: threading.Event) -> Iterator[Part]:
        """See ``Provider.stream``."""
        if request.tool_protocol == "json":
            plain = json_protocol.encode(request)
            return json_protocol.decode(self._guarded(plain, cancelled), request)
        return self._guarded(request, cancelled)

    def _guarded(self, request: Request, cancelled: threading.Event) -> Iterator[Part]:
        """The parts of one call, with every failure translated."""
        failure: Exception
        with Watch(cancelled, total_seconds=self._limits.total_seconds) as watch:
            try:
                yield from self._parts(request, watch)
                return
            except _FAILURES as error:
                failure = self._translate(error, watch)
        # Outside the handler: the original holds the request and so the key, and must not hang on as context.
        raise failure

    def _translate(self, error: Exception, watch: Watch) -> Exception:
        if watch.reason == "cancelled":
            return Cancelled()
        if watch.reason == "expired":
            seconds = self._limits.total_seconds
            return ProviderError("transport", f"the answer was not complete after {seconds:g} seconds")
        return openai_errors.from_exception(error, secrets=self._secrets)

    def _parts(self, request: Request, watch: Watch) -> Iterator[Part]:
        origin = f"{self._base_url} {request.model}"
        reader = ChunkReader(request, origin=origin, secrets=self._secrets)
        with watch.attached():
            stream = self._open(request, origin)
        try:
            for chunk in self._chunks(stream, reader, watch):
                yield from reader.parts(chunk)
        finally:
            stream.close()
        yield from reader.finish()

    def _open(self, request: Request, origin: str) -> EventStream:
        """Send the request, leaving out what this server has refused to know."""
        refused = _refused(origin)
        while True:
            body = openai_request.body(request, origin=origin, options=self._options, refused=tuple(refused))
            try:
                # Not chat.completions.create: its models of request and chunks take a third of a call's
                # processor time, and hide shapes that compatible servers send.
                return self._client.post(
                    "/chat/completions",
                    cast_to=object,
                    body=body,
                    options={"headers": self._extra_headers},
                    stream=True,
                    stream_cls=EventStream,
                )
            except openai.APIStatusError as error:
                left = [name for name in openai_request.OPTIONAL_FIELDS if name in body]
                field = openai_errors.rejected_field(error, left)
                if field is None:
                    raise
            refused.add(field)
            logger.info("model server refuses %s", field, extra={"action": "model_field_dropped"})

    def _chunks(self, stream: EventStream, reader: ChunkReader, watch: Watch) -> Iterator[object]:
        """The chunks of the answer, told by how it begins: gateways change or forget the content type."""
        with watch.attached():
            begins = stream.begins()
        if begins == b"<" or stream.response.headers.get("content-type", "").startswith("text/html"):
            raise ProviderError("invalid", "the server answered with a web page; check base_url")
        if begins in (b"{", b"["):
            with watch.attached():
                whole = self._plain(stream)
            yield whole
            return
        while True:
            try:
                with watch.attached():
                    chunk = next(stream, None)
            except _FAILURES:
                if watch.reason or not reader.finish_reason:
                    raise
                return  # cut off after it had said it was done: only the usage is missing
            watch.check()  # a body without a length just ends when its socket is shut down
            if chunk is None:
                return
            yield chunk

    def _plain(self, stream: EventStream) -> object:
        """The answer of a server that does not stream, as the one chunk it would have been."""
        content = b""
        for piece in stream.rest():
            content += piece
            if len(content) > LONGEST_PLAIN_ANSWER_BYTES:
                raise openai_errors.too_large()
        answer = json.loads(content)
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
            raise openai_errors.from_stream_body(answer, secrets=self._secrets)
        for choice in answer["choices"]:
            if isinstance(choice, dict):
                choice["delta"] = choice.pop("message", None)
        return answer


def problems(endpoint: Endpoint) -> list[str]:
    """What is wrong with the endpoint's settings, as sentences; nothing is contacted."""
    found: list[str] = []
    url = urlsplit(endpoint.base_url or DEFAULT_BASE_URL)
    if url.scheme not in ("http", "https") or not url.hostname:
        found.append("base_url must start with http:// or https:// and name a host")
    if url.username or url.password:
        found.append("base_url must not hold a password; put it into a secret slot")
    if not re.fullmatch(r"[!-~]*", endpoint.api_key):
        found.append("the API key holds characters that a header cannot carry")
    for name in ("headers", "extra_body"):
        if not isinstance(endpoint.options.get(name) or {}, dict):
            found.append(f"option {name} must be an object")
    headers = endpoint.options.get("headers")
    for name, value in headers.items() if isinstance(headers, dict) else ():
        if not _HEADER_NAME.fullmatch(str(name)) or str(name).lower() in _OWN_HEADERS:
            found.append(f"option headers must not set {str(name)[:64]!r}")
        elif not _HEADER_VALUE.fullmatch(str(value)):
            found.append(f"option headers: the value of {name} holds characters that a header cannot carry")
    return found


def _told_apart(values: Iterable[str]) -> Iterator[str]:
    """The values of headers that may be secrets: each whole, then its words without their scheme."""
    for value in values:
        yield from (part for part in (value, *value.split()) if len(part) >= SHORTEST_SECRET)


@functools.lru_cache(maxsize=64)
def _client(
    base_url: str, api_key: str, headers: tuple[tuple[str, str], ...], limits: Timeouts, http: httpx.Client
) -> openai.OpenAI:
    """Return the package's client; making one costs a tenth of a call, and it is safe to share."""
    timeout = httpx.Timeout(limits.read_seconds, connect=limits.connect_seconds, pool=limits.connect_seconds)
    # The package would take organisation and project from the environment and send them anywhere.
    quiet: dict[str, Any] = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}
    return openai.OpenAI(
        api_key=api_key or "none",
        base_url=base_url,
        max_retries=0,
        timeout=timeout,  # type: ignore[arg-type]  # it takes httpx's as well as httpx2's
        http_client=http,  # type: ignore[arg-type]  # the same
        default_headers={**quiet, **dict(headers)},
    )


@functools.lru_cache(maxsize=256)
def _refused(origin: str) -> set[str]:
    """Optional fields that the server behind ``origin`` rejected, as far as this process knows."""
    return set()

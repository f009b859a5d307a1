"""SSE: ``/v1/sessions/{id}/stream``, ``/v1/runs/{id}/stream`` and ``/v1/events/stream``."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

from asgiref.sync import SyncToAsync
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from kheish_site.lib.errors import BadRequest, KheishError, Unavailable
from kheish_site.lib.http import MethodNotAllowed, problem_response
from sessions_app.services import access
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.principal import Principal
from sessions_app.streams import frames, limits, opening
from sessions_app.streams.follow import Ended, Heartbeat, Item, follow
from sessions_app.streams.hub import TooManyStreams, hub
from sessions_app.streams.limits import Limits
from sessions_app.streams.reading import in_reader
from sessions_app.streams.sources import AnyOpened, Opened, RunSource, Source

logger: Final = logging.getLogger(__name__)
_CHUNK_BYTES: Final = 16_384
Opener = Callable[[Principal, list[str]], AnyOpened]


@csrf_exempt  # it can only be read; what is posted here is told so
async def session_stream(request: HttpRequest, session_id: str) -> HttpResponseBase:
    """Everything that happens in one session."""
    return await _answer(request, lambda caller, cursors: opening.open_session(caller, session_id, cursors))


@csrf_exempt
async def run_stream(request: HttpRequest, run_id: str) -> HttpResponseBase:
    """What one run does, up to ``run.ended``; asked again after that, 204."""
    return await _answer(request, lambda caller, cursors: opening.open_run(caller, run_id, cursors))


@csrf_exempt
async def event_stream(request: HttpRequest) -> HttpResponseBase:
    """All sessions, narrowed by ``session_id``, ``run_id`` and ``kinds`` (comma-separated)."""
    kinds = [kind.strip() for text in request.GET.getlist("kinds") for kind in text.split(",")]
    session_id, run_id = request.GET.get("session_id", ""), request.GET.get("run_id", "")
    return await _answer(
        request,
        partial(opening.open_everything, session_id=session_id, run_id=run_id, kinds=kinds),
        narrowed_by=("session_id", "run_id", "kinds"),
    )


async def _answer(
    request: HttpRequest, opener: Opener, *, narrowed_by: tuple[str, ...] = ()
) -> HttpResponseBase:
    bounds = limits.configured()
    try:
        if request.method != "GET":
            raise MethodNotAllowed("a stream can only be read", allowed="GET")
        hub().check(bounds)
        opened = await in_reader(partial(_open, request, opener, ("cursor", *narrowed_by)))
    except KheishError as error:
        return problem_response(error, request)
    except DatabaseError:
        logger.warning("a stream could not be opened", exc_info=True, extra={"action": "streams.open"})
        return problem_response(
            Unavailable("the database cannot answer now; try again", retry_after_seconds=1), request
        )
    if opened.seen:
        return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
    return StreamingHttpResponse(
        _bounded(opened, bounds),
        content_type="text/event-stream; charset=utf-8",
        headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
    )


def _check_query(request: HttpRequest, known: tuple[str, ...]) -> None:
    """Refuse what a stream does not know: a mistyped cursor would be a stream from now on."""
    wrong = {name: "unknown field" for name in request.GET if name not in known}
    wrong |= {name: "given twice" for name in known if name != "kinds" and len(request.GET.getlist(name)) > 1}
    if wrong:
        errors = [{"parameter": name, "detail": detail} for name, detail in wrong.items()]
        raise BadRequest("the query breaks its schema", code="invalid_request", errors=errors)


def _open(request: HttpRequest, opener: Opener, known: tuple[str, ...]) -> AnyOpened:
    """Authenticate (the login session is read here, in the reader thread) and find what was asked for."""
    caller = access.authenticate(
        request.headers.get("Authorization", ""),
        getattr(request, "user", None),
        remote_addr=str(request.META.get("REMOTE_ADDR") or "")[:64],
    )
    if caller.auth_method == "session":
        caller = replace(caller, login=request.session.session_key or "")
    _check_query(request, known)
    return opener(caller, [request.headers.get("Last-Event-ID", ""), request.GET.get("cursor", "")])


async def _bounded(opened: Opened[Any], bounds: Limits) -> AsyncIterator[bytes]:
    """Yield frames until the stream ends or has sent its share; whoever was cut off resumes."""
    _release_request_thread()
    yield frames.first_frame(opened.position)
    sent = 0
    try:
        with hub().subscribe(opened, bounds) as subscription:
            async with aclosing(follow(subscription, bounds, status=opened.status)) as news:
                async for items in news:
                    for chunk in _chunks(opened.source, items, left=bounds.max_bytes - sent):
                        yield chunk
                        sent += len(chunk)
                        if sent > bounds.max_bytes:
                            return
    except TooManyStreams:
        return
    except DatabaseError as error:
        logger.warning("a stream was cut off: %s", error, extra={"action": "streams.cut"})


def _chunks(source: Source[Any], items: tuple[Item, ...], *, left: int) -> Iterator[bytes]:
    """Yield what is sent at once: each sending costs more than its frames. One ends where ``left`` does."""
    chunk = b""
    for item in items:
        chunk += _frame(source, item)
        if len(chunk) >= _CHUNK_BYTES or len(chunk) > left:
            yield chunk
            chunk, left = b"", left - len(chunk)
    if chunk:
        yield chunk


def _frame(source: Source[Any], item: Item) -> bytes:
    if isinstance(item, Delta):
        return frames.delta_frame(item)
    if isinstance(item, Heartbeat):
        return frames.HEARTBEAT
    if isinstance(item, Ended):
        return frames.ended_frame(source.run_id if isinstance(source, RunSource) else "", item.status)
    return frames.event_frame(source.at(item), item)


def _release_request_thread() -> None:
    """End the thread that synchronous middleware got for this request.

    asgiref keeps one per request until its answer has been sent, which for a stream is minutes later:
    a thousand streams would be a thousand idle threads. It makes another one when it needs it again.
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor = SyncToAsync.context_to_thread_executor.pop(context, None) if context is not None else None
    if executor is not None:
        executor.shutdown(wait=False)

"""``Idempotency-Key`` on requests that create or decide: the header's half of ``services.idempotency``."""

import json
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, Final, TypeVar

from django.db import transaction
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from kheish_site.lib.crashpoints import crashpoint
from kheish_site.lib.errors import BadRequest
from kheish_site.lib.transactions import write
from sessions_app.services import idempotency
from sessions_app.services.idempotency import Answer, Claim
from sessions_app.services.principal import Principal

MEMBER: Final = "idempotency_key"
_KEPT_HEADERS: Final = ("Location", "ETag")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]{1,200}")
Handler = TypeVar("Handler", bound=Callable[..., Response])


def idempotent(handler: Handler) -> Handler:
    """Make a view method answer a repeated key with the first answer (see ``once``)."""
    return _wrapped(handler, sealed=False)


def idempotent_secret(handler: Handler) -> Handler:
    """Like ``idempotent`` for answers that hold a secret: they are stored sealed."""
    return _wrapped(handler, sealed=True)


def keyed(handler: Handler) -> Handler:
    """Mark a view method that calls ``once`` itself; the schema then documents the header."""
    handler.idempotent = True  # type: ignore[attr-defined]
    return handler


def once(request: Request, work: Callable[[], Response], *, sealed: bool = False) -> Response:
    """Do ``work`` once for the request's key, its answer stored in the work's own transaction.

    Without a key it is simply done. Errors are not stored: the key stays free. A view that waits
    after its work (``Prefer: wait``) calls this for the work alone, for a transaction is open in it.
    Raises: BadRequest(invalid_idempotency_key), Conflict(idempotency_conflict).
    """
    claim = _claim(request)
    if claim is None:
        return work()
    with write():
        claimed = idempotency.begin(claim)
        if isinstance(claimed, Answer):
            return _replay(claimed)
        response = work()
        if response.status_code >= 400:
            transaction.set_rollback(True)
        else:
            idempotency.finish(claimed, _answer(response), sealed=sealed)
            crashpoint("request.done")
    crashpoint("request.kept")
    return response


def in_steps(request: Request, work: Callable[[], Response]) -> Response:
    """Like ``once`` for work that commits in steps of its own, and done again finds what it did.

    Nothing is open in it. Two requests at the same moment may both do it; both get the first one's answer.
    """
    claim = _claim(request)
    if claim is not None:
        with write():
            claimed = idempotency.begin(claim)
            transaction.set_rollback(True)  # only a look: the key is claimed with the answer
        if isinstance(claimed, Answer):
            return _replay(claimed)
    response = work()
    return once(request, lambda: response)


def _claim(request: Request) -> Claim | None:
    key = read_key(request)
    if not key:
        return None
    assert isinstance(request.auth, Principal)
    return Claim(
        principal=request.auth.name,
        key=key,
        fingerprint=idempotency.fingerprint(request.method or "", request.path, _body(request)),
    )


def read_key(request: Request) -> str:
    """Return the key in the header or the body's ``idempotency_key``, or "".

    Raises: BadRequest(invalid_idempotency_key).
    """
    header = request.headers.get("Idempotency-Key")
    member = request.data.get(MEMBER) if isinstance(request.data, dict) else None
    if header is not None and member is not None and header != member:
        raise _invalid("the Idempotency-Key header and idempotency_key differ")
    key = header if header is not None else member
    if key is None:
        return ""
    if not isinstance(key, str) or not _VISIBLE.fullmatch(key):
        raise _invalid("an idempotency key is 1 to 200 visible ASCII characters")
    return key


def _wrapped(handler: Handler, *, sealed: bool) -> Handler:
    @wraps(handler)
    def wrapper(self: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
        return once(request, lambda: handler(self, request, *args, **kwargs), sealed=sealed)

    return keyed(wrapper)  # type: ignore[return-value]


def _body(request: Request) -> Any:
    if not isinstance(request.data, dict):
        return request.data
    return {name: value for name, value in request.data.items() if name != MEMBER}


def _answer(response: Response) -> Answer:
    headers = {name: response[name] for name in _KEPT_HEADERS if name in response}
    return Answer(
        status=response.status_code, body=json.loads(JSONRenderer().render(response.data)), headers=headers
    )


def _replay(answer: Answer) -> Response:
    return Response(
        answer.body, status=answer.status, headers={**answer.headers, "Idempotent-Replayed": "true"}
    )


def _invalid(detail: str) -> BadRequest:
    return BadRequest(detail, code="invalid_idempotency_key", domain="idempotency")

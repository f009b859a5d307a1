"""A form that is sent twice does its verb once: the page carries a key that was made when it was drawn.

The key counts together with the form's content, so a form that was filled in anew is another request.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from django.db.models import Model
from django.http import HttpRequest

from kheish_site.lib.ids import new_id
from kheish_site.lib.transactions import write
from sessions_app.admin.caller import principal
from sessions_app.services import idempotency
from sessions_app.services.idempotency import Answer, Claim

MEMBER = "once"
_ASIDE = (MEMBER, "csrfmiddlewaretoken")


@dataclass(frozen=True, kw_only=True)
class Told:
    """The answer to a verb: words and where to go next, or a ``secret`` that is shown once."""

    words: str
    url: str
    secret: str = ""


def new_key() -> str:
    """Return a new key for a form to send as ``once``."""
    return new_id("form")


def once(request: HttpRequest, work: Callable[[], Told], *, part: str = "") -> Told:
    """Do ``work`` in one transaction with its answer, or return the answer of the first equal request.

    ``part`` tells the parts of one request apart, each of which has a transaction of its own.
    """
    key = request.POST.get(MEMBER, "")
    if not key:
        return work()
    sent = {name: request.POST.getlist(name) for name in sorted(request.POST) if name not in _ASIDE}
    mark = idempotency.fingerprint("POST", request.path, sent)
    claim = Claim(principal=principal(request).name, key=f"console:{key}:{part}:{mark}", fingerprint=mark)
    with write():
        claimed = idempotency.begin(claim)
        if isinstance(claimed, Answer):
            return Told(**claimed.body)
        answer = work()
        idempotency.finish(claimed, Answer(status=200, body=asdict(answer)), sealed=bool(answer.secret))
    return answer


def once_for(request: HttpRequest, row: Model, work: Callable[[], str]) -> str:
    """Do ``work`` on one of a request's rows as ``once`` does, and return its words."""
    return once(request, lambda: Told(words=work(), url=""), part=str(row.pk)).words

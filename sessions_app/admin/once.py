"""A form that is sent twice does its verb once: the page carries a key that was made when it was drawn.

The key counts together with what was sent, so a form that was filled in anew is another request.
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
    """What a verb is answered with: words and where to go, or a ``secret`` that is shown once."""

    words: str
    url: str
    secret: str = ""


def new_key() -> str:
    """Return what a form sends with it as ``once``."""
    return new_id("form")


def once(request: HttpRequest, work: Callable[[], Told], *, part: str = "") -> Told:
    """Do ``work`` in one transaction with its answer, or return what the first of equal requests was told.

    ``part`` tells the parts of a request apart that are done each in a transaction of its own.
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
        told = work()
        idempotency.finish(claimed, Answer(status=200, body=asdict(told)), sealed=bool(told.secret))
    return told


def once_for(request: HttpRequest, row: Model, work: Callable[[], str]) -> str:
    """Do ``work`` on one of the rows of a request as ``once`` does, and return the words it returned."""
    return once(request, lambda: Told(words=work(), url=""), part=str(row.pk)).words

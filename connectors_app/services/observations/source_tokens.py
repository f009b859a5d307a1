"""Upload tokens: ``ko_`` and 32 random bytes, shown once, kept as their SHA-256.

They are a class of their own: no API token uploads, and an upload token opens nothing else.
"""

import logging
import secrets
from datetime import timedelta
from typing import Final

from django.db.models import Q, QuerySet

from connectors_app.models import ObservationSource, ObservationToken
from kheish_site.lib import clock
from kheish_site.lib.errors import Unauthorized
from kheish_site.lib.ids import new_id
from kheish_site.lib.transactions import locked, require_transaction, write
from sessions_app.services import audit, tokens

logger = logging.getLogger(__name__)

LONGEST_GRACE_MS: Final = 7 * 86_400_000


class UnknownSourceToken(Unauthorized):
    """The token is unknown, revoked or expired; the answer does not say which."""

    code, domain = "invalid_token", "observations"


def issue(source: ObservationSource, *, principal: str) -> tuple[ObservationToken, str]:
    """Make a token of ``source``; return its row and the secret. Needs an open transaction."""
    require_transaction()
    secret = f"ko_{secrets.token_urlsafe(32)}"
    token = ObservationToken.objects.create(
        token_id=new_id("otk"), source=source, secret_hash=tokens.hashed(secret), created_by=principal
    )
    return token, secret


def rotate(
    source: ObservationSource, *, principal: str, grace_period_ms: int = 0
) -> tuple[ObservationToken, str]:
    """Make a new token; earlier ones end after the grace period, or at once without one.

    A token that ends sooner anyway still does: rotating again never lengthens a life.
    """
    now = clock.now()
    with write():
        locked(ObservationSource.objects.filter(pk=source.pk)).first()
        until = now + timedelta(milliseconds=grace_period_ms)
        before = live(source)
        if grace_period_ms:
            before.filter(Q(expires_at=None) | Q(expires_at__gt=until)).update(expires_at=until)
        else:
            before.update(revoked_at=now)
        token, secret = issue(source, principal=principal)
        after = {"token_id": token.token_id, "grace_period_ms": grace_period_ms}
        audit.record("source.token_rotated", "observation_source", source.source_id, after=after)
    logger.info(
        "source token rotated",
        extra={
            "action": "observations.token.rotate",
            "source_id": source.source_id,
            "token_id": token.token_id,
        },
    )
    return token, secret


def revoke(source: ObservationSource) -> int:
    """End every token of the source at once; return how many there were. Repeating changes nothing."""
    with write():
        locked(ObservationSource.objects.filter(pk=source.pk)).first()
        ended = live(source).update(revoked_at=clock.now())
        if ended:
            audit.record("source.tokens_revoked", "observation_source", source.source_id)
    logger.info(
        "source tokens revoked",
        extra={"action": "observations.token.revoke", "source_id": source.source_id, "tokens": ended},
    )
    return ended


def live(source: ObservationSource) -> QuerySet[ObservationToken]:
    """Return the tokens of a source that are accepted now."""
    return all_live().filter(source=source)


def find(secret: str) -> ObservationToken:
    """Return the live token of ``secret`` with its source. Raises: UnknownSourceToken.

    Its use is recorded at most once a minute; failing to record it never fails the upload.
    """
    token = all_live().select_related("source").filter(secret_hash=tokens.hashed(secret)).first()
    if token is None:
        raise UnknownSourceToken("the token is not known, revoked or expired")
    tokens.note_use(token)
    return token


def all_live() -> QuerySet[ObservationToken]:
    """Return every token that is accepted now."""
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now())
    return ObservationToken.objects.filter(unexpired, revoked_at__isnull=True)

"""API tokens: ``kh_`` and 32 random bytes, shown once, kept as their SHA-256."""

import logging
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import DatabaseError
from django.db.models import Q, QuerySet

from kheish_site.lib import clock
from kheish_site.lib.canonical import sha256_hex
from kheish_site.lib.errors import BadRequest, Conflict, NotFound, Unauthorized
from kheish_site.lib.ids import new_id
from kheish_site.lib.prepared import Prepared
from kheish_site.lib.private_files import write_private
from kheish_site.lib.transactions import exclusive, locked, write
from sessions_app.models import ApiToken, Right, Role
from sessions_app.services import audit

logger = logging.getLogger(__name__)

LOCAL_NAME: Final = "local"
_RESERVED: Final = frozenset({LOCAL_NAME, "system", "daemon"})
_USE_RECORDED_EVERY: Final = timedelta(minutes=1)


class UnknownToken(Unauthorized):
    """The token is not known, revoked or expired; the answer does not say which."""

    code, domain = "invalid_token", "tokens"


def create(
    name: str,
    *,
    role: str,
    rights: Collection[str] = (),
    created_by: str = "",
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; return its row and the secret, which nobody can read again.

    A name belongs to one live token and to no user, because it names the caller in every record. ``rights``
    are ``Right`` values an operator's token holds beside its role.
    Raises: BadRequest(invalid_token_request), Conflict(token_name_taken).
    """
    moment = clock.now()
    if expires_at is not None and expires_at <= moment:
        raise BadRequest("expires_at lies in the past", code="invalid_token_request", domain="tokens")
    unknown = sorted(set(rights) - set(Right.values))
    if unknown or (rights and role == Role.VIEWER):
        why = f"there is no right {unknown[0]}" if unknown else "a viewer's token holds no rights"
        raise BadRequest(why, code="invalid_token_request", domain="tokens")
    with write():
        exclusive("tokens")
        if _name_taken(name):
            raise Conflict(
                f"{name} is taken: revoke that token first", code="token_name_taken", domain="tokens"
            )
        token, secret = _issue(name, role=role, rights=rights, created_by=created_by, expires_at=expires_at)
        told = {"name": name, "role": str(role), "rights": token.rights}
        audit.record("token.created", "token", token.token_id, after=told)
    logger.info("token created", extra={"action": "tokens.create", "token_id": token.token_id, "role": role})
    return token, secret


def everything(*, include_revoked: bool = True) -> QuerySet[ApiToken]:
    """Return all tokens, or the live and expired ones only."""
    rows = ApiToken.objects.all()
    return rows if include_revoked else rows.filter(revoked_at__isnull=True)


def get(token_id: str) -> ApiToken:
    """Return one token. Raises: NotFound(token_not_found)."""
    token = ApiToken.objects.filter(token_id=token_id).first()
    if token is None:
        raise _missing(token_id)
    return token


def revoke(token_id: str) -> ApiToken:
    """End a token for good; revoking again changes nothing. Raises: NotFound(token_not_found)."""
    with write():
        token = locked(ApiToken.objects.filter(token_id=token_id)).first()
        if token is None:
            raise _missing(token_id)
        if token.revoked_at is None:
            token.revoked_at = clock.now()
            token.save(update_fields=["revoked_at"])
            audit.record("token.revoked", "token", token_id, before={"name": token.name, "role": token.role})
            logger.info("token revoked", extra={"action": "tokens.revoke", "token_id": token_id})
    return token


def find(secret: str) -> ApiToken:
    """Return the live token of ``secret``. Raises: UnknownToken.

    Its use is recorded at most once a minute; failing to record it never fails the request.
    """
    token = _BY_HASH.first(hashed(secret))
    if token is None or (token.expires_at is not None and token.expires_at <= clock.now()):
        raise UnknownToken("the token is not known, revoked or expired")
    note_use(token)
    return token


def hashed(secret: str) -> str:
    """Return what is stored of a token's secret."""
    return sha256_hex(secret.encode("utf-8", "replace"))


def note_use(token: Any) -> None:
    """Record the use of an API or upload token, at most once a minute; failing to do so is only logged."""
    moment = clock.now()
    before = moment - _USE_RECORDED_EVERY
    if token.last_used_at is not None and token.last_used_at > before:
        return
    due = Q(last_used_at__isnull=True) | Q(last_used_at__lte=before)
    try:
        type(token)._default_manager.filter(due, pk=token.pk).update(last_used_at=moment)
    except DatabaseError:
        logger.warning("token use not recorded", exc_info=True, extra={"token_id": token.token_id})


_BY_HASH: Final = Prepared[ApiToken](
    lambda secret_hash: ApiToken.objects.filter(secret_hash=secret_hash, revoked_at__isnull=True), str
)


def live_named(names: Collection[str]) -> QuerySet[ApiToken]:
    """Return the tokens of these names that work now."""
    return _live().filter(name__in=names)


def ensure_local_token(path: Path) -> None:
    """See to it that ``path`` (mode 0600) holds a live admin token called ``local``.

    A missing file, or one whose token is unknown or revoked, gets a fresh token; older ones of that
    name are revoked, since whoever has the lost file must not keep its power. The file is written
    before the commit: after a crash in between, its token is unknown and the next start repairs it.
    """
    with write():
        exclusive("tokens")
        if _holds_local_token(path):
            path.chmod(0o600)
            return
        everything(include_revoked=False).filter(name=LOCAL_NAME).update(revoked_at=clock.now())
        _, secret = _issue(LOCAL_NAME, role=Role.ADMIN, created_by="serve", expires_at=None)
        write_private(path, secret + "\n")
    logger.info("local operator token written", extra={"action": "tokens.local", "file": str(path)})


def _issue(
    name: str,
    *,
    role: str,
    created_by: str,
    expires_at: datetime | None,
    rights: Collection[str] = (),
) -> tuple[ApiToken, str]:
    secret = f"kh_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        token_id=new_id("tok"),
        name=name,
        role=role,
        rights=sorted(set(rights)),
        secret_hash=hashed(secret),
        created_by=created_by,
        expires_at=expires_at,
    )
    return token, secret


def _live() -> QuerySet[ApiToken]:
    unexpired = Q(expires_at__isnull=True) | Q(expires_at__gt=clock.now())
    return ApiToken.objects.filter(unexpired, revoked_at__isnull=True)


def _name_taken(name: str) -> bool:
    if name in _RESERVED or everything(include_revoked=False).filter(name=name).exists():
        return True
    users = get_user_model()
    return users.objects.filter(**{users.USERNAME_FIELD: name}).exists()


def _holds_local_token(path: Path) -> bool:
    try:
        secret = path.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    return _live().filter(secret_hash=hashed(secret), name=LOCAL_NAME).exists()


def _missing(token_id: str) -> NotFound:
    return NotFound(f"no token {token_id}", code="token_not_found", domain="tokens")

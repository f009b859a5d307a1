"""Logins of people: slowed down when they fail, ended when idle or old, nothing without their second factor.

A session of a browser carries when it was born, when it was last used, and whether its second factor was
shown. The middleware and the WebSocket ask ``standing`` before they believe a login.
"""

from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from django.conf import settings

from kheish_site.lib import clock
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import locked, write
from sessions_app.models import LoginThrottle
from sessions_app.services import audit, second_factor
from sessions_app.services.principal import Principal

BORN: Final = "kheish_born"
SEEN: Final = "kheish_seen"
FACTOR: Final = "kheish_factor"
SHOWN: Final = "shown"
WANTED: Final = "wanted"
NOT_ASKED: Final = "not_asked"
ADDRESS_FACTOR: Final = 10
"""An address may fail so many times as often as one account from it: several people may share it."""
_FORGOTTEN_AFTER: Final = timedelta(days=1)
_NOTED_EVERY: Final = timedelta(minutes=1)


class TooManyAttempts(KheishError):
    """Logins failed too often; ``retry_after_seconds`` says when to try again."""

    code, domain, status, retryable = "login_blocked", "logins", 429, True


class Standing(Enum):
    """Whether a browser's session counts as a login."""

    GOOD = "good"
    OVER = "over"
    FACTOR_MISSING = "factor_missing"


def check(account: str, address: str) -> None:
    """Refuse while this account is blocked from this address, or the address is. Raises: TooManyAttempts."""
    until = [
        row.blocked_until
        for row in LoginThrottle.objects.filter(account__in=["", _named(account)], address=address)
        if row.blocked_until is not None
    ]
    left = max(until, default=clock.now()) - clock.now()
    if left > timedelta():
        seconds = int(left.total_seconds()) + 1
        raise TooManyAttempts(
            f"too many failed logins: try again in {max(seconds // 60, 1)} min", retry_after_seconds=seconds
        )


def failed(account: str, address: str) -> None:
    """Count a failed login; at the limit the account is blocked from there, and the log has it."""
    limit = settings.KHEISH.login_failures
    if not limit:
        return
    for name, most in ((_named(account), limit), ("", limit * ADDRESS_FACTOR)):
        if _count(name, address, most):
            about = {"failures": most, "minutes": settings.KHEISH.login_block_minutes}
            who = Principal(name=account[:150], role="", auth_method="session", remote_addr=address)
            audit.record("login.blocked", "login", name or address, after=about, principal=who)


def succeeded(account: str, address: str) -> None:
    """Forget the failures of this account from this address."""
    with write():
        LoginThrottle.objects.filter(account=_named(account), address=address).delete()


def _count(account: str, address: str, most: int) -> bool:
    """Count one failure; tell whether it was the one that blocks. Failures long ago do not count."""
    now, block = clock.now(), timedelta(minutes=settings.KHEISH.login_block_minutes)
    with write():
        LoginThrottle.objects.bulk_create(
            [LoginThrottle(account=account, address=address, last_at=now)], ignore_conflicts=True
        )
        row = locked(LoginThrottle.objects.filter(account=account, address=address)).get()
        row.failures = 1 if row.last_at < now - block else row.failures + 1
        blocks = row.failures >= most
        row.blocked_until = now + block if blocks else None
        row.failures, row.last_at = 0 if blocks else row.failures, now
        row.save(update_fields=["failures", "last_at", "blocked_until"])
    return blocks


def purge() -> int:
    """Delete what failed long ago; return how many rows."""
    with write():
        gone, _ = LoginThrottle.objects.filter(last_at__lt=clock.now() - _FORGOTTEN_AFTER).delete()
    return gone


def begin(session: Any, user: Any) -> None:
    """Mark a browser's new session: when it was born, and whether a second factor is still to be shown."""
    now = clock.now().timestamp()
    session[BORN] = session[SEEN] = now
    asked = settings.KHEISH.second_factor_required or second_factor.is_on(user)
    session[FACTOR] = WANTED if asked else NOT_ASKED


def begin_signed_in(sender: Any, request: Any, user: Any, **named: Any) -> None:
    """Mark the session of whoever has just signed in (Django's signal)."""
    begin(request.session, user)


def factor_shown(session: Any) -> None:
    """Let the session count as a whole login."""
    session[FACTOR] = SHOWN


def standing(session: Any, *, active: bool = True) -> Standing:
    """Tell whether a signed-in session counts, by what it carries: no query.

    ``active``: a person did something; streams and their reconnections do not keep a session alive. A session
    that was signed in before it was marked counts from now on.
    """
    now = clock.now()
    born, seen = (_moment(session.get(name)) for name in (BORN, SEEN))
    if born is None or seen is None:
        session[BORN] = session[SEEN] = now.timestamp()
        born = seen = now
    if _is_over(now, born, settings.KHEISH.session_hours * 60):
        return Standing.OVER
    if _is_over(now, seen, settings.KHEISH.session_idle_minutes):
        return Standing.OVER
    if active and now - seen >= _NOTED_EVERY:
        session[SEEN] = now.timestamp()
    state = session.get(FACTOR, NOT_ASKED)
    if state == WANTED or (state == NOT_ASKED and settings.KHEISH.second_factor_required):
        return Standing.FACTOR_MISSING
    return Standing.GOOD


def _is_over(now: datetime, since: datetime, minutes: float) -> bool:
    return bool(minutes) and now - since > timedelta(minutes=minutes)


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp, tz=clock.now().tzinfo) if isinstance(stamp, int | float) else None


def _named(account: str) -> str:
    return account.strip().casefold()[:150]

"""Logins of people: slowed down when they fail, ended when idle or old, nothing without their second factor.

A session of a browser carries when it was born, when it was last used, and whether its second factor was
shown. The middleware and the WebSocket ask ``standing`` before they believe a login.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.utils.crypto import constant_time_compare

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
"""How many times as many failures an address may have as one account from it: people share addresses."""
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


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A try to sign in that was let through. Until it succeeds it counts as a failure."""

    account: str
    address: str
    last: tuple[str, ...] = ()
    """For whom it was the last one ("" is the address): they are blocked unless it succeeds."""


def attempt(account: str, address: str) -> Attempt:
    """Let one try through, counted before the password is checked: many at once cannot exceed the limit.

    Raises: TooManyAttempts while this account is blocked from this address, or the address is.
    """
    limit = settings.KHEISH.login_failures
    if not limit:
        return Attempt(account=account, address=address)
    most = {_named(account): limit, "": limit * ADDRESS_FACTOR}  # a try without a name is the address's alone
    now, block = clock.now(), timedelta(minutes=settings.KHEISH.login_block_minutes)
    with write():
        rows = _rows(most, address, now)
        _refuse_while_blocked(rows, now)
        for row in rows:
            is_old = row.blocked_until is not None or row.last_at < now - block
            row.failures, row.last_at = 1 if is_old else row.failures + 1, now
            row.blocked_until = now + block if row.failures >= most[row.account] else None
            row.save(update_fields=["failures", "last_at", "blocked_until"])
    last = tuple(row.account for row in rows if row.blocked_until is not None)
    return Attempt(account=account, address=address, last=last)


def failed(tried: Attempt) -> None:
    """Leave the try counted, and record in the audit log whom it blocked."""
    limit, minutes = settings.KHEISH.login_failures, settings.KHEISH.login_block_minutes
    for name in tried.last:
        about = {"failures": limit if name else limit * ADDRESS_FACTOR, "minutes": minutes}
        who = Principal(name=tried.account[:150], role="", auth_method="session", remote_addr=tried.address)
        audit.record("login.blocked", "login", name or tried.address, after=about, principal=who)


def succeeded(tried: Attempt) -> None:
    """Forget the failures of this account from this address, and that the address tried once more."""
    with write():
        _uncount("", tried)
        LoginThrottle.objects.filter(account=_named(tried.account), address=tried.address).delete()


def half_done(tried: Attempt) -> None:
    """Take a right password out of the count, but keep earlier failures: wrong second-factor codes add up."""
    with write():
        _uncount("", tried)
        _uncount(_named(tried.account), tried)


def _uncount(name: str, tried: Attempt) -> None:
    row = locked(LoginThrottle.objects.filter(account=name, address=tried.address)).first()
    if row is not None and row.failures:
        row.failures -= 1
        row.blocked_until = None if name in tried.last else row.blocked_until
        row.save(update_fields=["failures", "blocked_until"])


def _rows(names: Iterable[str], address: str, now: datetime) -> list[LoginThrottle]:
    """Return the rows of these accounts under their locks, made where there was none.

    That of the address ("") comes first: under its lock nobody forgets the row of an account meanwhile.
    """
    found = []
    for name in sorted(names):
        made = LoginThrottle(account=name, address=address, last_at=now)
        LoginThrottle.objects.bulk_create([made], ignore_conflicts=True)
        found.append(locked(LoginThrottle.objects.filter(account=name, address=address)).get())
    return found


def _refuse_while_blocked(rows: Iterable[LoginThrottle], now: datetime) -> None:
    left = max((row.blocked_until or now for row in rows), default=now) - now
    if left > timedelta():
        seconds = int(left.total_seconds()) + 1
        raise TooManyAttempts(
            f"too many failed logins: try again in {max(seconds // 60, 1)} min", retry_after_seconds=seconds
        )


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


def lasting(keys: Collection[str]) -> frozenset[str]:
    """Return the keys of those sessions that count, whoever looks at their pages or not. Two queries."""
    if not keys:
        return frozenset()
    rows = Session.objects.filter(session_key__in=keys, expire_date__gt=clock.now())
    carried = {row.session_key: row.get_decoded() for row in rows}
    pks = {said[SESSION_KEY] for said in carried.values() if SESSION_KEY in said}
    people = {str(pk): person for pk, person in get_user_model()._default_manager.in_bulk(pks).items()}
    return frozenset(
        key
        for key, said in carried.items()
        if standing(said, active=False) is Standing.GOOD and _has_same_password(said, people)
    )


def _has_same_password(session: Mapping[str, Any], people: Mapping[str, Any]) -> bool:
    """Tell whether the password is still the one of the sign-in; Django asks the same for each page."""
    person = people.get(session.get(SESSION_KEY, ""))
    if person is None:
        return False
    hashes = (person.get_session_auth_hash(), *person.get_session_auth_fallback_hash())
    return any(constant_time_compare(session.get(HASH_SESSION_KEY, ""), each) for each in hashes)


def _is_over(now: datetime, since: datetime, minutes: float) -> bool:
    return bool(minutes) and now - since > timedelta(minutes=minutes)


def _moment(stamp: Any) -> datetime | None:
    return datetime.fromtimestamp(stamp, tz=clock.now().tzinfo) if isinstance(stamp, int | float) else None


def _named(account: str) -> str:
    return account.strip().casefold()[:150]

"""People who sign in: what failed before, and their second factor."""

from django.conf import settings
from django.db import models

from sessions_app.models.base import name_field


class LoginThrottle(models.Model):
    """Failed logins of one account from one address, or (with ``account`` "") of one address in all.

    Born with the first failure, removed by a login that succeeds or a day after the last failure.
    """

    account = name_field(blank=True, default="", length=150)
    address = name_field(blank=True, default="", length=64)
    failures = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()
    blocked_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-last_at"]
        constraints = [
            models.UniqueConstraint(fields=["account", "address"], name="login_throttle_once"),
        ]
        indexes = [
            # forgotten: WHERE last_at < ?
            models.Index(fields=["last_at"], name="login_throttle_age"),
        ]

    def __str__(self) -> str:
        return f"{self.account or 'anybody'} from {self.address or 'somewhere'}"


class SecondFactor(models.Model):
    """A person's authenticator app (TOTP, RFC 6238). Born by enrolment, in force once it was confirmed.

    ``sealed`` is its key under the master key. ``last_step`` is the time step of the last code that was
    taken: no code is taken twice. Removed by its owner, or by ``manage.py reset_second_factor``.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor"
    )
    sealed = models.TextField(editable=False)
    last_step = models.BigIntegerField(default=0)
    confirmed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"second factor of {self.user_id}"

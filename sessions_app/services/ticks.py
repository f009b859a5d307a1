"""Periodic work that one process at a time may do: a named right with an expiry, renewed by its holder.

All times are the database's, which the workers of several machines share.
"""

from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from kheish_site.lib.transactions import write
from sessions_app.models import TickLease


def take(name: str, owner: str, *, seconds: float) -> bool:
    """Take or keep the right ``name`` for ``seconds``; False while somebody else has it."""
    with write():
        TickLease.objects.get_or_create(name=name)
        mine = Q(owner=owner) | Q(expires_at=None) | Q(expires_at__lte=Now())
        until = Now() + timedelta(seconds=seconds)
        return TickLease.objects.filter(mine, name=name).update(owner=owner, expires_at=until) == 1


def give_back(name: str, owner: str) -> None:
    """Let others take the right at once; nothing happens when it is not ours."""
    with write():
        TickLease.objects.filter(name=name, owner=owner).update(owner="", expires_at=None)

"""A WebSocket believes a browser's login no longer than a page does."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from kheish_site.lib import clock
from kheish_site.lib.errors import Unauthorized
from sessions_app.services import logins
from sessions_app.streams.callers import socket_caller

pytestmark = pytest.mark.django_db


def scope(client: Client) -> dict[str, object]:
    cookie = f"kheish_session={client.cookies['kheish_session'].value}"
    names = {"cookie": cookie, "host": "localhost", "origin": "http://localhost"}
    return {"headers": [(name.encode(), value.encode()) for name, value in names.items()]}


def test_a_login_that_is_over_or_lacks_its_factor_opens_no_socket() -> None:
    user = User.objects.create(username="lea", is_staff=True)
    user.groups.add(Group.objects.get_or_create(name="viewer")[0])
    client = Client()
    client.force_login(user)
    assert socket_caller(scope(client)).name == "lea"
    for mark, value in (
        (logins.FACTOR, logins.WANTED),
        (logins.BORN, (clock.now() - timedelta(days=2)).timestamp()),
    ):
        session = client.session
        before, session[mark] = session[mark], value
        session.save()
        with pytest.raises(Unauthorized):
            socket_caller(scope(client))
        session[mark] = before
        session.save()

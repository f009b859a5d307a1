"""Signing in to the console: slowed down when it fails, ended when idle or old, with a second factor."""

import base64
import re
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from kheish_site.lib import clock
from sessions_app.models import AuditEntry, LoginThrottle, SecondFactor
from sessions_app.services import accounts, logins, master_key, second_factor
from sessions_app.services.second_factor import WrongCode

pytestmark = pytest.mark.django_db

HOME, LOGIN, FACTOR = "/admin/", "/admin/login/", "/admin/second-factor/"
PASSWORD = "a long enough password"


@pytest.fixture
def configure(settings: Any) -> Any:
    def change(**fields: Any) -> None:
        settings.KHEISH = replace(settings.KHEISH, **fields)

    return change


@pytest.fixture
def lea() -> User:
    accounts.ensure_groups()
    user = User.objects.create_user("lea", password=PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name="operator"))
    return user


def sign_in(client: Client, password: str = PASSWORD, *, name: str = "lea", address: str = "10.0.0.1") -> Any:
    given = {"username": name, "password": password}
    return client.post(f"{LOGIN}?next={HOME}", given, REMOTE_ADDR=address)


def code_of(user: User, *, ahead: int = 0) -> str:
    key = base64.b32decode(second_factor.begin(user)) if not second_factor.is_on(user) else key_of(user)
    return second_factor.code_at(key, int(time.time()) // 30 + ahead)


def key_of(user: User) -> bytes:
    from kheish_site.lib import crypto

    return crypto.unseal(SecondFactor.objects.get(user=user).sealed)


def enrol(user: User) -> None:
    second_factor.confirm(user, code_of(user, ahead=-1))


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def test_a_login_is_recorded_with_where_it_came_from(lea: User) -> None:
    assert sign_in(Client()).status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.principal, entry.role) == ("person.signed_in", "lea", "operator")
    assert entry.remote_addr == "10.0.0.1"


def test_failures_block_the_account_from_there_and_nobody_else(lea: User, configure: Any) -> None:
    configure(login_failures=3)
    client = Client()
    for _ in range(3):
        assert "correct username and password" in sign_in(client, "wrong").content.decode()
    refused = sign_in(client)
    assert "Too many failed logins: try again in 15 min." in refused.content.decode()
    assert not User.objects.get(pk=lea.pk).last_login
    assert sign_in(Client(), name="LEA ", address="10.0.0.1").status_code == 200
    assert sign_in(Client(), address="10.0.0.2").status_code == 302
    assert actions() == ["login.blocked", "person.signed_in"]
    LoginThrottle.objects.filter(account="lea").update(blocked_until=clock.now() - timedelta(seconds=1))
    assert sign_in(client).status_code == 302
    assert not LoginThrottle.objects.filter(account="lea").exists()


def test_an_address_that_tries_many_accounts_is_blocked(lea: User, configure: Any) -> None:
    configure(login_failures=1)
    for number in range(10):
        sign_in(Client(), "wrong", name=f"guess-{number}")
    assert "Too many failed logins" in sign_in(Client()).content.decode()
    assert sign_in(Client(), address="10.0.0.2").status_code == 302


def test_a_try_without_a_name_counts_for_the_address_alone(lea: User, configure: Any) -> None:
    configure(login_failures=1)
    for _ in range(9):
        sign_in(Client(), name="")
    assert sign_in(Client()).status_code == 302
    assert LoginThrottle.objects.get().failures == 9
    sign_in(Client(), name="")
    assert "Too many failed logins" in sign_in(Client()).content.decode()


def test_a_right_password_does_not_forget_wrong_codes(lea: User, configure: Any) -> None:
    enrol(lea)
    configure(login_failures=3)
    for _ in range(3):
        client = Client()
        assert sign_in(client).status_code == 302
        client.post(FACTOR, {"code": "000000"}, REMOTE_ADDR="10.0.0.1")
    assert "Too many failed logins" in sign_in(Client()).content.decode()
    assert sign_in(Client(), address="10.0.0.2").status_code == 302


def test_failures_long_ago_do_not_add_up(lea: User, configure: Any) -> None:
    configure(login_failures=2)
    sign_in(Client(), "wrong")
    LoginThrottle.objects.update(last_at=clock.now() - timedelta(hours=1))
    sign_in(Client(), "wrong")
    assert sign_in(Client()).status_code == 302
    LoginThrottle.objects.update(last_at=clock.now() - timedelta(days=2))
    assert logins.purge() == 1


def test_without_a_limit_nothing_is_counted(lea: User, configure: Any) -> None:
    configure(login_failures=0)
    for _ in range(8):
        sign_in(Client(), "wrong")
    assert not LoginThrottle.objects.exists()


@pytest.mark.parametrize(("mark", "minutes"), [(logins.SEEN, 121), (logins.BORN, 12 * 60 + 1)])
def test_a_login_ends_when_idle_or_old(lea: User, mark: str, minutes: int) -> None:
    client = Client()
    client.force_login(lea)
    assert client.get(HOME).status_code == 200
    session = client.session
    session[mark] = (clock.now() - timedelta(minutes=minutes)).timestamp()
    session.save()
    assert client.get("/v1/runs").status_code == 401
    assert client.get(HOME).status_code == 302


def test_what_is_done_keeps_it_alive_and_listening_does_not(lea: User) -> None:
    client = Client()
    client.force_login(lea)
    before = (clock.now() - timedelta(minutes=100)).timestamp()
    part = {"X-Console": "part"}
    for path, headers, counts in (
        ("/v1/events/stream", {}, False),
        ("/admin/counts/", part, False),
        (HOME, part, False),
        (HOME, {}, True),
        ("/v1/runs", {}, True),
    ):
        session = client.session
        session[logins.SEEN] = before
        session.save()
        client.get(path, headers=headers)
        assert (client.session[logins.SEEN] > before) is counts


def test_a_factor_is_enrolled_with_a_picture_and_a_code(lea: User) -> None:
    client = Client()
    sign_in(client)
    shown = client.get(FACTOR)
    text = shown.content.decode()
    drawn = re.search(r"<svg[^>]*segno.*?</svg>", text, re.DOTALL)
    assert drawn is not None
    assert "style" not in drawn[0]
    assert "unsafe" not in shown["Content-Security-Policy"]
    key = re.search(r"<code>([A-Z2-7]{32})</code>", text)
    assert key is not None
    assert key[1] in client.get(FACTOR).content.decode(), "a reload shows the same key"
    assert "not the code" in client.post(FACTOR, {"code": "000000"}).content.decode()
    assert not second_factor.is_on(lea)
    assert client.post(FACTOR, {"code": code_of(lea)}).status_code == 302
    assert second_factor.is_on(lea)
    assert client.get(HOME).status_code == 200
    assert "second_factor.added" in actions()
    assert key[1] not in client.get(FACTOR).content.decode()


def test_a_login_without_the_factor_can_only_show_it(lea: User) -> None:
    enrol(lea)
    client = Client()
    assert sign_in(client).status_code == 302
    there = client.get(reverse("admin:sessions_app_run_changelist"))
    assert (there.status_code, there["Location"]) == (
        302,
        "/admin/second-factor/?next=%2Fadmin%2Fsessions_app%2Frun%2F",
    )
    assert client.get("/v1/runs").status_code == 401
    page = client.get(FACTOR).content.decode()
    assert "segno" not in page
    assert reverse("admin:sessions_app_run_changelist") not in page
    done = client.post(f"{FACTOR}?next=/admin/sessions_app/run/", {"code": code_of(lea)})
    assert (done.status_code, done["Location"]) == (302, "/admin/sessions_app/run/")
    assert client.get(HOME).status_code == 200
    assert client.get("/v1/runs").status_code == 200


def test_it_leads_nowhere_else(lea: User) -> None:
    enrol(lea)
    client = Client()
    sign_in(client)
    done = client.post(f"{FACTOR}?next=https://evil.test/", {"code": code_of(lea)})
    assert done["Location"] == HOME


def test_a_code_is_taken_once_and_clocks_may_be_a_little_off(lea: User) -> None:
    enrol(lea)
    code = code_of(lea)
    second_factor.verify(lea, f" {code[:3]} {code[3:]} ")
    with pytest.raises(WrongCode):
        second_factor.verify(lea, code)
    second_factor.verify(lea, code_of(lea, ahead=1))
    for wrong in (code_of(lea, ahead=5), "", "12345", "abcdef", "١٢٣٤٥٦"):
        with pytest.raises(WrongCode):
            second_factor.verify(lea, wrong)


def test_the_codes_are_those_of_the_standard() -> None:
    """RFC 6238, appendix B, cut to six digits."""
    key = b"12345678901234567890"
    times = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
    assert {second: second_factor.code_at(key, second // 30) for second in times} == times


def test_wrong_codes_count_like_wrong_passwords(lea: User, configure: Any) -> None:
    configure(login_failures=3)
    enrol(lea)
    client = Client(REMOTE_ADDR="10.0.0.1")
    sign_in(client)
    for _ in range(3):
        client.post(FACTOR, {"code": "000000"})
    assert "Too many failed logins" in client.post(FACTOR, {"code": code_of(lea)}).content.decode()


def test_its_owner_takes_it_away_with_a_code(lea: User) -> None:
    enrol(lea)
    client = Client()
    sign_in(client)
    client.post(FACTOR, {"code": code_of(lea)})
    assert "To take it away" in client.get(FACTOR).content.decode()
    client.post(FACTOR, {"code": "000000"})
    assert second_factor.is_on(lea)
    client.post(FACTOR, {"code": code_of(lea, ahead=1)})
    assert not second_factor.is_on(lea)
    assert client.get(HOME).status_code == 200
    assert actions()[-1] == "second_factor.removed"


def test_everybody_enrols_where_the_setting_says(lea: User, configure: Any) -> None:
    client = Client()
    client.force_login(lea)
    assert client.get(HOME).status_code == 200
    configure(second_factor_required=True)
    assert client.get(HOME)["Location"].startswith(FACTOR)
    client.post(FACTOR, {"code": code_of(lea)})
    assert client.get(HOME).status_code == 200


def test_the_key_is_sealed_and_follows_a_rotation(lea: User, configure: Any, tmp_path: Any) -> None:
    enrol(lea)
    key = key_of(lea)
    row = SecondFactor.objects.get()
    assert base64.b32encode(key).decode() not in row.sealed
    master_key.reseal_all()
    again = SecondFactor.objects.get()
    assert again.sealed != row.sealed
    assert key_of(lea) == key


def test_a_lost_phone_is_helped_by_a_command(lea: User, capsys: pytest.CaptureFixture[str]) -> None:
    enrol(lea)
    call_command("reset_second_factor", "lea", reason="lost phone")
    assert "is gone" in capsys.readouterr().out
    assert AuditEntry.objects.get(action="second_factor.removed").reason == "lost phone"
    call_command("reset_second_factor", "lea")
    assert "There was none" in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("reset_second_factor", "nobody")


def test_headers_of_every_page() -> None:
    page = Client().get(LOGIN)
    assert page["Permissions-Policy"] == "camera=(), geolocation=(), microphone=()"
    assert page["X-Content-Type-Options"] == "nosniff"
    assert page["X-Frame-Options"] == "DENY"
    assert page["Referrer-Policy"] == "same-origin"
    assert page["Cross-Origin-Opener-Policy"] == "same-origin"


def change_password(client: Client, old: str, new: str = "another long password") -> Any:
    given = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post(reverse("admin:password_change"), given, REMOTE_ADDR="10.0.0.1")


def test_a_change_of_ones_own_password_is_recorded(lea: User) -> None:
    client, other = Client(), Client()
    sign_in(client), sign_in(other)
    assert "too common" in change_password(client, PASSWORD, "password").content.decode()
    assert change_password(client, PASSWORD)["Location"] == reverse("admin:password_change_done")
    entry = AuditEntry.objects.order_by("-id")[0]
    assert (entry.action, entry.principal, entry.object_id) == ("person.password_changed", "lea", "lea")
    assert (entry.remote_addr, entry.auth_method) == ("10.0.0.1", "session")
    assert (client.get(HOME).status_code, other.get(HOME).status_code) == (200, 302)
    lea.refresh_from_db()
    assert lea.check_password("another long password")


def test_guesses_of_an_old_password_are_failed_logins(lea: User, configure: Any) -> None:
    configure(login_failures=3)
    client = Client()
    sign_in(client)
    for _ in range(3):
        assert "entered incorrectly" in change_password(client, "wrong").content.decode()
    assert "Too many failed logins" in change_password(client, PASSWORD).content.decode()
    assert actions() == ["person.signed_in", "login.blocked"]
    assert "Too many failed logins" in sign_in(Client()).content.decode()
    lea.refresh_from_db()
    assert lea.check_password(PASSWORD)

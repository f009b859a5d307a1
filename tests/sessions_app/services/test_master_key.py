"""Rotating the master key, and dying in the middle of it."""

from dataclasses import replace
from io import StringIO
from threading import Thread

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection

from kheish_site.lib import crypto
from kheish_site.settings.keys import new_master_key
from sessions_app.models import IdempotencyRecord, SecretSlot
from sessions_app.services import audit, master_key, secrets
from tests.factories import make_client, make_secret

pytestmark = pytest.mark.django_db


@pytest.fixture
def key_file(tmp_path, settings, monkeypatch):
    monkeypatch.setattr(master_key, "LATE_SECONDS", 0.01)
    file = tmp_path / "master.key"
    file.write_text(new_master_key() + "\n")
    settings.KHEISH = replace(
        settings.KHEISH, master_key_file=file, master_keys=(file.read_text().strip(),),
        master_keys_in_environment=False,
    )  # fmt: skip
    return file


def rotate(*options):
    out = StringIO()
    call_command("rotate_master_key", *options, stdout=out)
    return out.getvalue()


def sealed_under(key):
    try:
        return all(Fernet(key).decrypt(slot.sealed.encode()) for slot in SecretSlot.objects.all())
    except Exception:
        return False


def test_rotation_keeps_the_old_key_until_told(key_file):
    make_secret("a", "canary-value-a")
    old = key_file.read_text().split()
    assert "1 older key(s) kept" in rotate()
    new = key_file.read_text().split()
    assert new[1:] == old
    assert sealed_under(new[0])
    assert not sealed_under(old[0])
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert secrets.reveal("a") == "canary-value-a"


def test_a_database_that_was_never_prepared_gets_no_key(key_file, monkeypatch):
    before = key_file.read_text()
    monkeypatch.setattr(type(connection.introspection), "table_names", lambda self: [])
    with pytest.raises(CommandError, match="never prepared: is KHEISH_STATE_DIR"):
        rotate()
    assert key_file.read_text() == before


def test_dropping_the_old_keys(key_file):
    make_secret("a", "canary-value-a")
    rotate()
    assert "older keys dropped" in rotate("--drop-old")
    assert len(key_file.read_text().split()) == 1
    assert secrets.reveal("a") == "canary-value-a"


@pytest.mark.parametrize(
    ("options", "action", "said"),
    [
        ([], "master_key.rotated", {"keys_kept": 2}),
        (["--drop-old"], "master_key.rotated", {"keys_kept": 1}),
        (["--reseal-only"], "master_key.resealed", {}),
    ],
)
def test_a_rotation_is_in_the_audit_log(key_file, options, action, said):
    rotate(*options)
    (entry,) = audit.everything()
    assert (entry.action, entry.object_kind, entry.object_id, entry.after) == (
        action, "master_key", "master.key", said,
    )  # fmt: skip


def test_stored_answers_with_secrets_are_sealed_again(key_file):
    client = make_client()
    body, key = {"name": "ci", "role": "viewer"}, {"idempotency-key": "k"}
    first = client.post("/v1/tokens", body, headers=key).json()
    rotate("--drop-old")
    assert client.post("/v1/tokens", body, headers=key).json() == first
    assert IdempotencyRecord.objects.count() == 1


@pytest.mark.parametrize("place", ["master_key.written", "master_key.resealed"])
def test_a_crash_in_between_leaves_everything_readable(key_file, monkeypatch, place):
    class Died(Exception):
        pass

    def crash(name):
        if name == place:
            raise Died

    make_secret("a", "canary-value-a")
    with monkeypatch.context() as patch:
        patch.setattr(master_key, "crashpoint", crash)
        with pytest.raises(Died):
            rotate("--drop-old")
    assert secrets.reveal("a") == "canary-value-a"
    rotate("--drop-old")
    assert secrets.reveal("a") == "canary-value-a"
    assert len(key_file.read_text().split()) == 1


def test_an_unreadable_row_keeps_every_key_and_every_row(key_file):
    make_secret("a", "canary-value-a")
    SecretSlot.objects.create(slot_id="broken", sealed="gAAAAA")
    with pytest.raises(CommandError, match="cannot be read"):
        rotate("--drop-old")
    assert len(key_file.read_text().split()) == 2
    assert secrets.reveal("a") == "canary-value-a"


def test_running_processes_follow_the_key_file(key_file):
    old = crypto.seal(b"before")
    master_key.rotate()
    assert crypto.unseal(old) == b"before"
    assert Fernet(key_file.read_text().split()[0]).decrypt(crypto.seal(b"after").encode()) == b"after"


def test_keys_in_the_environment_are_the_operators_to_change(settings):
    first, second = new_master_key(), new_master_key()
    settings.KHEISH = replace(settings.KHEISH, master_keys=(second,), master_keys_in_environment=True)
    make_secret("a", "canary-value-a")
    with pytest.raises(CommandError, match="--reseal-only"):
        rotate()
    settings.KHEISH = replace(settings.KHEISH, master_keys=(first, second))
    assert "1 secrets" in rotate("--reseal-only")
    assert sealed_under(first)


def test_two_rotations_at_once_lose_no_key(key_file, monkeypatch):
    """The second begins while the first, which will drop what it does not know, has written its key."""
    monkeypatch.setattr(master_key, "reseal_all", lambda: 0)
    monkeypatch.setattr(audit, "record", lambda *deed, **members: None)  # the database is another thread's
    seconds = []

    def begin_another(name):
        if name == "master_key.written" and not seconds:
            seconds.append(Thread(target=master_key.rotate))
            seconds[0].start()
            seconds[0].join(0.5)

    monkeypatch.setattr(master_key, "crashpoint", begin_another)
    master_key.rotate(drop_old=True)
    (first,) = key_file.read_text().split()[-1:]
    seconds[0].join(10)
    keys = key_file.read_text().split()
    assert len(keys) == 2 and keys[1] == first


def test_what_is_committed_late_under_an_old_key_outlasts_it(key_file, monkeypatch):
    old = key_file.read_text().strip()

    def commit_late(name):
        if name == "master_key.resealed":
            make_secret("late", "canary-value-late")
            sealed = Fernet(old).encrypt(b"canary-value-late").decode()
            SecretSlot.objects.filter(slot_id="late").update(sealed=sealed)

    monkeypatch.setattr(master_key, "crashpoint", commit_late)
    master_key.rotate(drop_old=True)
    assert len(key_file.read_text().split()) == 1
    assert secrets.reveal("late") == "canary-value-late"


def test_a_slot_that_was_read_before_its_key_went_is_read_again(key_file, monkeypatch):
    make_secret("a", "canary-value-a")
    before = secrets.get("a")
    rotate("--drop-old")
    read = [before]
    monkeypatch.setattr(secrets, "get", lambda slot_id: read.pop() if read else SecretSlot.objects.get())
    assert secrets.reveal("a") == "canary-value-a"
    read.append(before)
    SecretSlot.objects.update(sealed=before.sealed)
    with pytest.raises(crypto.Unreadable):
        secrets.reveal("a")

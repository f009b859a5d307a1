"""The keys of an installation."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from kheish_site.lib.action_chain import Signer, is_signed
from kheish_site.settings import keys


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (
        "KHEISH_SECRET_KEY",
        "KHEISH_MASTER_KEY",
        "KHEISH_SECRET_KEY_FILE",
        "KHEISH_MASTER_KEY_FILE",
        "KHEISH_AUDIT_SIGNING_KEY",
        "KHEISH_AUDIT_SIGNING_KEY_FILE",
    ):
        monkeypatch.delenv(name, raising=False)


def test_keys_are_made_once_and_private(tmp_path):
    state = tmp_path / "state"
    assert keys.secret_key(state) == keys.secret_key(state)
    assert keys.master_keys(state) == keys.master_keys(state)
    assert keys.audit_signing_key(state) == keys.audit_signing_key(state)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir()} == {0o600}


def test_a_made_master_key_seals(tmp_path):
    (key,) = keys.master_keys(tmp_path)
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"x")) == b"x"


def test_several_master_keys_keep_their_order(monkeypatch, tmp_path):
    two = [keys.new_master_key(), keys.new_master_key()]
    monkeypatch.setenv("KHEISH_MASTER_KEY", ", ".join(two))
    assert keys.master_keys(tmp_path) == tuple(two)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bad", ["short", "é" * 44, "A" * 43])
def test_a_bad_master_key_is_refused_without_showing_it(monkeypatch, tmp_path, bad):
    monkeypatch.setenv("KHEISH_MASTER_KEY", bad)
    with pytest.raises(ImproperlyConfigured, match="KHEISH_MASTER_KEY") as caught:
        keys.master_keys(tmp_path)
    assert bad not in str(caught.value)


def test_a_made_audit_key_signs(tmp_path):
    signer = Signer(keys.audit_signing_key(tmp_path))
    assert is_signed(signer.sealed({"a": 1}), signer.key_id)


@pytest.mark.parametrize("bad", ["short", "é" * 44, "A" * 42])
def test_a_bad_audit_key_is_refused_without_showing_it(monkeypatch, tmp_path, bad):
    monkeypatch.setenv("KHEISH_AUDIT_SIGNING_KEY", bad)
    with pytest.raises(ImproperlyConfigured, match="KHEISH_AUDIT_SIGNING_KEY") as caught:
        keys.audit_signing_key(tmp_path)
    assert bad not in str(caught.value)


def test_an_audit_key_of_a_named_file(monkeypatch, tmp_path):
    (tmp_path / "key").write_text("+/" * 21 + "8=\n")
    monkeypatch.setenv("KHEISH_AUDIT_SIGNING_KEY_FILE", str(tmp_path / "key"))
    assert Signer(keys.audit_signing_key(tmp_path)).key_id == Signer("-_" * 21 + "8=").key_id


def test_a_named_file_must_exist(monkeypatch, tmp_path):
    monkeypatch.setenv("KHEISH_SECRET_KEY_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="missing"):
        keys.secret_key(tmp_path)


def test_processes_that_start_together_agree(tmp_path):
    call = f"keys.secret_key(Path({str(tmp_path)!r}))"
    code = f"from pathlib import Path; from kheish_site.settings import keys; print({call})"
    root = Path(keys.__file__).resolve().parent.parent.parent
    started = [
        subprocess.Popen([sys.executable, "-c", code], cwd=root, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert len({process.communicate()[0] for process in started}) == 1

"""Where address and token come from, and where a token never goes."""

import json
import os
from pathlib import Path

import pytest

from kheish_site.cli.config import DEFAULT_URL, Connection, resolve
from kheish_site.cli.exits import UsageError


def settle(tmp_path: Path, **environ: str) -> Connection:
    base_url, token_file = environ.pop("base_url", None), environ.pop("token_file", None)
    env = {"HOME": str(tmp_path)} | environ
    return resolve(base_url=base_url, token_file=token_file, environ=env, cwd=tmp_path)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_without_anything_the_default_address_and_no_token(tmp_path) -> None:
    found = settle(tmp_path)
    assert (found.base_url, found.token) == (DEFAULT_URL, "")


def test_the_flag_wins_over_the_environment(tmp_path) -> None:
    found = settle(tmp_path, base_url="http://127.0.0.1:5000/", KHEISH_URL="http://127.0.0.1:6000")
    assert (found.base_url, found.url_source) == ("http://127.0.0.1:5000", "--base-url")


def test_the_service_that_runs_here_is_found(tmp_path) -> None:
    lock = tmp_path / ".kheish/serve.lock"
    write(lock, json.dumps({"pid": os.getpid(), "url": "http://127.0.0.1:4410"}))
    found = settle(tmp_path)
    assert (found.base_url, found.url_source) == ("http://127.0.0.1:4410", str(lock))
    assert settle(tmp_path, KHEISH_URL="http://127.0.0.1:6000").base_url == "http://127.0.0.1:6000"
    write(tmp_path / ".config/kheish/config.toml", 'url = "https://kheish.example"\n')
    assert settle(tmp_path).base_url == "https://kheish.example"


def test_a_service_that_was_killed_is_named_with_its_folder(tmp_path, kheish, monkeypatch) -> None:
    monkeypatch.setattr("kheish_site.cli.config.DEFAULT_URL", "http://127.0.0.1:9")  # nobody is there
    state = {"KHEISH_STATE_DIR": str(tmp_path / "state"), "KHEISH_URL": ""}
    told = kheish("status", env=state).err
    assert f"No service runs on the state folder {tmp_path / 'state'}." in told and "last" not in told
    write(tmp_path / "state/serve.lock", json.dumps({"pid": 4194305, "url": "http://127.0.0.1:4410"}))
    assert "The last one was at http://127.0.0.1:4410" in kheish("status", env=state).err
    assert "The last one was at http://127.0.0.1:4410" in kheish("doctor", env=state).out


@pytest.mark.parametrize(
    "told",
    [
        "",
        "[]",
        '{"pid": 1}',
        '{"pid": "x", "url": "http://127.0.0.1:4410"}',
        '{"pid": -1, "url": "http://127.0.0.1:4410"}',
        '{"pid": 4194305, "url": "http://127.0.0.1:4410"}',  # more than Linux ever gives
        '{"pid": 1, "url": "ftp://127.0.0.1"}',
        '{"pid": 1, "url": "https://kheish.example"}',
    ],
)
def test_a_lock_that_names_no_service_of_this_machine_is_passed_over(tmp_path, told) -> None:
    write(tmp_path / ".kheish/serve.lock", told)
    assert settle(tmp_path).base_url == DEFAULT_URL


def test_the_operator_token_is_found_beside_the_person(tmp_path) -> None:
    write(tmp_path / ".kheish/operator.token", "kh_local\n")
    assert settle(tmp_path).token == "kh_local"


def test_the_operator_token_is_found_in_the_state_folder(tmp_path) -> None:
    write(tmp_path / "state/operator.token", "kh_state\n")
    assert settle(tmp_path, KHEISH_STATE_DIR=str(tmp_path / "state")).token == "kh_state"


def test_the_local_token_is_never_sent_to_another_machine(tmp_path) -> None:
    write(tmp_path / ".kheish/operator.token", "kh_local\n")
    assert settle(tmp_path, base_url="https://kheish.example").token == ""


def test_the_config_file_gives_address_and_token(tmp_path) -> None:
    write(tmp_path / ".config/kheish/config.toml", 'url = "https://kheish.example"\ntoken = "kh_far"\n')
    found = settle(tmp_path)
    assert (found.base_url, found.token) == ("https://kheish.example", "kh_far")


def test_the_config_token_stays_with_its_address(tmp_path) -> None:
    write(tmp_path / ".config/kheish/config.toml", 'url = "https://kheish.example"\ntoken = "kh_far"\n')
    assert settle(tmp_path, base_url="https://other.example").token == ""


def test_the_config_file_may_name_a_token_file(tmp_path) -> None:
    token = write(tmp_path / "token", "kh_file")
    text = f'url = "https://kheish.example"\ntoken_file = "{token}"\n'
    write(tmp_path / ".config/kheish/config.toml", text)
    assert settle(tmp_path).token == "kh_file"


@pytest.mark.parametrize(
    "url", ["kheish", "ftp://host", "http://", "http://host:0", "http://a b", "http://h:x"]
)
def test_nonsense_is_not_an_address(tmp_path, url) -> None:
    with pytest.raises(UsageError, match="not an address"):
        settle(tmp_path, base_url=url)


def test_a_missing_token_file_is_said(tmp_path) -> None:
    with pytest.raises(UsageError, match="cannot read the token file"):
        settle(tmp_path, token_file=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("token", ["a b", "a\nb", " ", "schlüssel", "a\x7f"])
def test_a_token_that_cannot_be_one_is_said(tmp_path, token) -> None:
    with pytest.raises(UsageError, match="KHEISH_TOKEN holds no token"):
        settle(tmp_path, KHEISH_TOKEN=token)


def test_broken_toml_is_said(tmp_path) -> None:
    write(tmp_path / ".config/kheish/config.toml", "url = ")
    with pytest.raises(UsageError, match="not valid TOML"):
        settle(tmp_path)


def test_the_token_is_not_in_the_repr() -> None:
    assert "kh_x" not in repr(Connection(base_url="u", url_source="", token="kh_x", token_source=""))

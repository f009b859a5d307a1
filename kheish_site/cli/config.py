"""Where the service is and who we are: flags and environment first, what was found last.

`~/.config/kheish/config.toml` (or under XDG_CONFIG_HOME) may hold `url`, `token_file` and `token`. Without an
address from anywhere it is that of the service which runs on the state folder here, wherever it listens.
A token is only sent where it belongs: the one found in a state folder to this machine alone, the one
from the config file to the `url` beside it. Without this rule a mistyped `--base-url` would hand an
operator token to a stranger.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kheish_site.cli.exits import UsageError

DEFAULT_URL = "http://127.0.0.1:4000"
TOKEN_FILE_NAME = "operator.token"  # noqa: S105 - the name of a file
LOCK_FILE_NAME = "serve.lock"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach the service. `*_source` say where a value came from, for people.

    `state_folder` is where a service of this machine was looked for, `last_url` where the last one on it was.
    """

    base_url: str
    url_source: str
    token: str = field(repr=False)
    token_source: str
    state_folder: str = ""
    last_url: str = ""


def resolve(
    *, base_url: str | None, token_file: str | None, environ: Mapping[str, str], cwd: Path
) -> Connection:
    """Settle address and token. Raises UsageError for an unreadable file or a malformed address."""
    stored = _read_config(_config_path(environ))
    folder = Path(environ.get("KHEISH_STATE_DIR") or cwd / ".kheish")
    told = _told(folder / LOCK_FILE_NAME)
    url, url_source = _find_url(base_url, environ, stored, folder, told)
    token, token_source = _find_token(token_file, environ, stored, url, folder)
    return Connection(
        base_url=url,
        url_source=url_source,
        token=token,
        token_source=token_source,
        state_folder=str(folder),
        last_url=told[0],
    )


def is_loopback(url: str) -> bool:
    """True when the address can only be this machine."""
    host = urlsplit(url).hostname or ""
    return host in LOOPBACK_HOSTS or host.startswith("127.")


def check_url(url: str) -> str:
    """The address without trailing slash; raises UsageError unless it is http or https with a host."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or any(character <= " " for character in url):
        raise UsageError(f"not an address: {url!r}", cure=f"Write it as in {DEFAULT_URL}")
    return url.rstrip("/")


def _config_path(environ: Mapping[str, str]) -> Path:
    home = Path(environ.get("HOME") or "~").expanduser()
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "kheish" / "config.toml"


def _read_config(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream) | {"_path": str(path)}
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not valid TOML: {error}", cure="Correct or remove it.") from error


def _find_url(
    flag: str | None, environ: Mapping[str, str], stored: dict[str, Any], folder: Path, told: tuple[str, int]
) -> tuple[str, str]:
    if flag:
        return check_url(flag), "--base-url"
    if environ.get("KHEISH_URL"):
        return check_url(environ["KHEISH_URL"]), "KHEISH_URL"
    if stored.get("url"):
        return check_url(str(stored["url"])), stored["_path"]
    served, pid = told
    return (served, str(folder / LOCK_FILE_NAME)) if _lives(pid) else (DEFAULT_URL, "default")


def _told(lock: Path) -> tuple[str, int]:
    """Return address and process of the last service of this machine that took ``lock``, else ("", 0).

    One that was killed is told as well; one that ended took its word back.
    """
    try:
        told = json.loads(lock.read_text(encoding="utf-8"))
        url, pid = check_url(str(told["url"])), int(told["pid"])
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return "", 0
    return (url, pid) if is_loopback(url) else ("", 0)


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _find_token(
    flag: str | None, environ: Mapping[str, str], stored: dict[str, Any], url: str, folder: Path
) -> tuple[str, str]:
    if flag:
        return _read_token(Path(flag)), flag
    if environ.get("KHEISH_TOKEN"):
        return _checked(environ["KHEISH_TOKEN"], "KHEISH_TOKEN", "Set it to the token alone."), "KHEISH_TOKEN"
    if is_loopback(url):
        found = folder / TOKEN_FILE_NAME
        if found.is_file():
            return _read_token(found), str(found)
    if stored.get("url") and check_url(str(stored["url"])) == url:
        return _stored_token(stored)
    return "", ""


def _stored_token(stored: dict[str, Any]) -> tuple[str, str]:
    if stored.get("token_file"):
        path = Path(str(stored["token_file"])).expanduser()
        return _read_token(path), str(path)
    if stored.get("token"):
        return _checked(str(stored["token"]), stored["_path"], "Correct it."), stored["_path"]
    return "", ""


def _read_token(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise UsageError(
            f"cannot read the token file {path}: {reason}",
            cure="Run as the person who started the service, or set KHEISH_TOKEN.",
        ) from error
    return _checked(text, str(path), "It should hold one line, as `serve` writes it.")


def _checked(text: str, source: str, cure: str) -> str:
    token = text.strip()
    if not token or any(not "!" <= character <= "~" for character in token):
        raise UsageError(f"{source} holds no token", cure=cure)
    return token

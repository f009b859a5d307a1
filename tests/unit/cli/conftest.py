"""A service to talk to, and `kheish` as a function."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kheish_site.cli.main import main
from tests.unit.cli.fake_service import TOKEN, FakeService


class Terminal(io.StringIO):
    """Text stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Result:
    code: int
    out: str
    err: str


Kheish = Callable[..., Result]


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()
    yield fake
    fake.stop()


@pytest.fixture
def kheish(service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kheish:
    """Runs one command line against the service: kheish("runs", "list", stdin="", tty=False, env={})."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["kheish"])

    def run(*argv: str, stdin: str = "", tty: bool = False, env: dict[str, str] | None = None) -> Result:
        kind: Any = Terminal if tty else io.StringIO
        out, err = kind(), kind()
        environ = {"HOME": str(tmp_path), "KHEISH_URL": service.url, "KHEISH_TOKEN": TOKEN} | (env or {})
        code = main(argv, stdin=kind(stdin), stdout=out, stderr=err, environ=environ)
        return Result(int(code), out.getvalue(), err.getvalue())

    return run

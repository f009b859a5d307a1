"""Commands whose answer has a shape of its own, against the service itself."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from kheish_site.cli import transport
from kheish_site.cli.main import main
from tests.factories import make_client

pytestmark = pytest.mark.django_db

Kheish = Callable[..., tuple[int, str]]


@pytest.fixture
def kheish(monkeypatch: pytest.MonkeyPatch) -> Kheish:
    """Runs one command line as an admin; returns exit code and output. Nothing goes over a socket."""
    client = make_client()

    def send(_: transport.Transport, request: transport.Request) -> transport.Reply:
        act = getattr(client, request.method.lower())
        answer: Any = act(request.target, request.body, headers=request.headers)
        body = answer.json() if answer.content else None
        if answer.status_code >= 300:
            raise transport.Problem(answer.status_code, body, answer.headers)
        return transport.Reply(status=answer.status_code, body=body)

    def run(*argv: str) -> tuple[int, str]:
        out, environ = io.StringIO(), {"KHEISH_URL": "http://127.0.0.1:1", "KHEISH_TOKEN": "kh_x"}
        code = main(argv, stdin=io.StringIO(), stdout=out, stderr=out, environ=environ)
        return int(code), out.getvalue()

    monkeypatch.setattr(transport.Transport, "send", send)
    return run


def test_the_permission_matrix(kheish: Kheish) -> None:
    code, out = kheish("runtime", "permissions", "matrix")
    rows = {name: decisions for name, *decisions in map(str.split, out.splitlines())}
    assert code == 0
    decided = dict(zip(rows["TOOL"], rows["write_file"], strict=True))
    assert (decided["default"], decided["acceptEdits"]) == ("ask", "allow")


def test_the_system_prompt_is_written_and_cleared(kheish: Kheish) -> None:
    code, out = kheish("runtime", "set-system-prompt", "be kind", "--json")
    assert (code, json.loads(out)["system_prompt"]["custom_prompt"]) == (0, "be kind")
    code, out = kheish("runtime", "set-system-prompt", "--clear", "--json")
    assert (code, set(json.loads(out)["system_prompt"].values())) == (0, {""})

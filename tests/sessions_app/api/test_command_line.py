"""Commands whose answer has a shape of its own, against the service itself."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from kheish_site.cli import transport
from kheish_site.cli.main import main
from kheish_site.lib.transactions import write
from sessions_app.models import Session
from sessions_app.services import approvals, external_actions
from sessions_app.services.approvals import Vote
from sessions_app.services.external_actions import Action
from sessions_app.services.principal import SYSTEM
from tests.factories import make_client
from tests.sessions_app.api.rows import ask_approvals, make_run, make_session

pytestmark = pytest.mark.django_db

Kheish = Callable[..., tuple[int, str]]


@pytest.fixture
def kheish(monkeypatch: pytest.MonkeyPatch) -> Kheish:
    """Runs one command line as an admin; returns exit code and output. Nothing goes over a socket."""
    client = make_client()

    def send(_: transport.Transport, request: transport.Request) -> transport.Reply:
        act = getattr(client, request.method.lower())
        answer: Any = act(request.target, request.body, headers=request.headers)
        body: Any = answer.json() if answer.content else None
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


def test_the_scopes_of_a_session_are_set_and_cleared(kheish: Kheish) -> None:
    make_session()
    scope = '{"skill_allow": ["b", "a"]}'
    code, out = kheish("sessions", "set-capability-scope", "desk", scope, "--json")
    assert (code, json.loads(out)["effective_capability_scope"]) == (0, {"skill_allow": ["a", "b"]})
    code, out = kheish("sessions", "set-credential-scope", "desk", '{"connector_allow": ["a"]}', "--json")
    assert (code, json.loads(out)["effective_credential_scope"]["connector_credential_deny"]) == (0, ["*"])
    for noun in ("capability", "credential"):
        code, out = kheish("sessions", f"set-{noun}-scope", "desk", "--clear", "--json")
        assert (code, json.loads(out)[f"{noun}_scope"]) == (0, {})
    assert kheish("sessions", "set-capability-scope", "desk", '{"skills": []}')[0] == 2
    make_run(Session.objects.get())
    assert kheish("sessions", "set-capability-scope", "desk", "{}")[0] == 6


def test_the_signed_records_of_a_run(kheish: Kheish) -> None:
    run = make_run(make_session())
    with write():
        sent = Action(phase="started", kind="tool", target="web_fetch", grant="permission:default")
        external_actions.record(sent, run=run)
    code, out = kheish("runs", "external-actions", run.run_id)
    assert (code, "permission:default" in out, "web_fetch" in out) == (0, True, True)
    assert kheish("runs", "external-actions", "run_none")[0] == 1


def test_a_call_edited_after_it_was_looked_at_is_not_allowed(kheish: Kheish) -> None:
    _, (approval,) = ask_approvals(make_session(), required_votes=2)
    command = ("approvals", "allow", approval.approval_id)
    assert f"{' '.join(command)} --digest {approval.digest}" in kheish(*command[:1], "get", command[2])[1]
    edit = Vote(behavior="allow", updated_input={"command": "make check"})
    digest = approvals.resolve(approval.approval_id, edit, principal=SYSTEM).digest
    for options in ((), ("--yes",), ("--digest", approval.digest)):
        code, out = kheish(*command, *options)
        assert (code, "edited" in out) == (6, True)
    assert kheish("approvals", "allow-all", "--everything")[0] == 6
    assert approval.votes.filter(voided_at=None).count() == 1
    code, out = kheish(*command, "--digest", digest)
    assert (code, "allowed" in out) == (0, True)

"""The e-mail sidecar as a child of a real service, between real mail servers: what goes in comes out once."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kheish_site.testing.ports import free_port
from tests.acceptance.conftest import installed
from tests.support.mail import PASSWORD, Post, servers
from tests.support.service import ROOT, Deployment
from tests.support.service_process import alive, until

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]
TOKEN = "shared-token-4711-canary"
CONNECTOR = "/v1/runtime/connectors/external/mail"


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    with servers(tmp_path_factory.mktemp("post")) as made:
        yield made


@pytest.fixture(scope="module")
def desk(prepared: Deployment, post: Post, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A service with the sidecar as its child, up and reading; each test leaves it so."""
    folder = tmp_path_factory.mktemp("desk")
    with installed(prepared, folder, KHEISH_SWEEP_SECONDS="0.2") as own:
        own.start()
        configure(own, post, folder / "mail")
        until_running(own)
        yield own


def configure(own: Deployment, post: Post, folder: Path) -> None:
    body = {
        "route_id": "answers", "driver": "scripted", "model": "script", "default": True,
        "options": {"script": {"turns": [{"text": "It is done."}]}},
    }  # fmt: skip
    assert own.ask("POST", "/v1/routes", body)[0] == 201
    secret = {"slot_id": "mail-password", "provider": "mail", "value": PASSWORD}
    assert own.ask("POST", "/v1/runtime/secrets", secret)[0] == 201
    settings = {
        "platform": "email",
        "mode": "child_process",
        "base_url": f"http://127.0.0.1:{free_port()}",
        "child_process": {
            "command": "python3",
            "args": ["-I", str(ROOT / "examples" / "email_sidecar")],
            "env": post.environment(folder),
            "credential_slots": {
                "EMAIL_IMAP_PASSWORD": "mail-password",
                "EMAIL_SMTP_PASSWORD": "mail-password",
            },
        },
    }
    definition = {"settings": settings, "secrets": {"shared_token": {"value": TOKEN}}}
    status, said = own.ask("PUT", CONNECTOR, definition)
    assert status == 201, said


def sidecar(service: Deployment) -> dict[str, Any]:
    said: dict[str, Any] = service.ask("GET", f"{CONNECTOR}/sidecar")[1]
    return said


def until_running(service: Deployment, *, after: int = 0) -> dict[str, Any]:
    def is_up() -> bool:
        said = sidecar(service)
        return bool(said["status"] == "running" and said["pid"] != after)

    until(is_up, 40, lambda: (sidecar(service), service.words()[-3000:]))
    return sidecar(service)


def runs(service: Deployment, sender: str) -> list[dict[str, Any]]:
    found = service.ask("GET", "/v1/runs?limit=100")[1]["items"]
    return [run for run in found if run["request"]["actor_id"] == sender]


def deliveries(service: Deployment, *statuses: str) -> list[dict[str, Any]]:
    found = service.ask("GET", "/v1/deliveries")[1]["items"]
    return [one for one in found if not statuses or one["status"] in statuses]


def put(post: Post, sender: str, number: int = 1, **headers: str) -> str:
    """A mail of ``sender`` arrives; returns its Message-ID."""
    message_id = f"<{number}.{sender}>"
    text = f"Please see to it, {number}."
    post.put(From=f"Somebody <{sender}>", Subject="The door", Message_ID=message_id, text=text, **headers)
    return message_id


def test_mail_in_run_reply_out_once(desk: Deployment, post: Post) -> None:
    ada = "ada@example.org"
    asked = put(post, ada)
    (reply,) = post.wait(ada)
    assert reply["Subject"] == "Re: The door"
    assert (reply["In-Reply-To"], reply["References"]) == (asked, asked)
    assert reply.get_content().strip() == "It is done."
    assert reply["Auto-Submitted"] == "auto-replied"
    until(lambda: not post.unseen(ada), 20, lambda: "the mail was not marked")

    # The same mail, unread again, is known; it is marked and makes no second run.
    post.mark_unread(ada)
    until(lambda: not post.unseen(ada), 20, lambda: "the mail was not marked again")
    (run,) = runs(desk, ada)
    assert (run["request"]["source_plugin"], run["request"]["source_kind"]) == ("external", "email")

    # The answer to our answer goes on in the same session.
    put(post, ada, 2, In_Reply_To=str(reply["Message-ID"]), References=f"{asked} {reply['Message-ID']}")
    post.wait(ada, 2)
    assert {one["session_id"] for one in runs(desk, ada)} == {run["session_id"]}


def test_others_have_sessions_of_their_own_and_strangers_none(desk: Deployment, post: Post) -> None:
    bob, carol, mallory = "bob@example.org", "carol@example.org", "mallory@elsewhere.test"
    for sender in (mallory, bob, carol):
        put(post, sender)
    post.wait(bob)
    post.wait(carol)
    (one,), (other,) = runs(desk, bob), runs(desk, carol)
    assert one["session_id"] != other["session_id"]
    assert runs(desk, mallory) == []
    assert post.unseen(mallory) == 1
    assert PASSWORD not in desk.words()
    assert TOKEN not in desk.words()


def test_no_mail_stops_the_others(desk: Deployment, post: Post) -> None:
    odd = "odd@example.org"
    for header, body in [
        ('From: "', "x"),
        ("From: <", "x"),
        (f"From: {odd}\r\nMessage-ID: <[", "x"),
        (f"From: {odd}\r\nMessage-ID: <1.{odd}>\r\nSubject: =?utf-8?q?a=00b?=", "a NUL"),
        (f"From: {odd}\r\nMessage-ID: <2.{odd}>\r\nContent-Type: text/plain; charset=utf-8", "😀" * 300_000),
    ]:
        post.put_raw(f"{header}\r\nTo: agent@example.org\r\n\r\n{body}\r\n".encode())
    after = "after@example.org"
    put(post, after)
    post.wait(after)
    assert sidecar(desk)["status"] == "running"
    post.wait(odd, 2)
    assert len(runs(desk, odd)) == 2


def test_files_travel_both_ways(desk: Deployment, post: Post) -> None:
    gina, table = "gina@example.org", "door,state\n1,open\n"
    asked = put(post, gina, table=table)
    post.wait(gina)
    (run,) = runs(desk, gina)
    view = desk.ask("GET", f"/v1/runs/{run['run_id']}")[1]
    (file,) = (item for item in view["input_items"] if item["type"] == "asset_reference")
    route = json.dumps({"to": gina, "subject": "The door", "references": [asked]})
    sent = {
        "session_id": run["session_id"],
        "output": {"content": "Here it is again.", "attachments": [file["asset_id"]]},
        "handle": {"type": "external", "connector": "mail", "route": route},
    }
    status, said = desk.ask("POST", "/v1/deliveries", sent)
    assert status == 202, said
    _, reply = post.wait(gina, 2)
    (back,) = reply.iter_attachments()
    assert (back.get_filename(), back.get_content_type()) == ("table.csv", "text/csv")
    assert back.get_payload(decode=True) == table.encode()


def test_a_killed_sidecar_comes_back_and_nothing_is_lost(desk: Deployment, post: Post) -> None:
    dora, first = "dora@example.org", sidecar(desk)
    os.kill(first["pid"], signal.SIGKILL)
    put(post, dora)
    second = until_running(desk, after=first["pid"])
    assert second["restarts"] == first["restarts"] + 1
    post.wait(dora)
    assert len(runs(desk, dora)) == 1


def test_a_delivery_outlasts_a_sidecar_that_is_down(desk: Deployment, post: Post) -> None:
    emil = "emil@example.org"
    post.answer = "451 come back later"
    put(post, emil)
    until(lambda: deliveries(desk, "retrying"), 60, lambda: deliveries(desk))
    assert desk.ask("POST", f"{CONNECTOR}/disable", {})[0] == 200
    until(lambda: sidecar(desk)["status"] == "stopped", 20, lambda: sidecar(desk))
    post.answer = ""
    assert desk.ask("POST", f"{CONNECTOR}/enable", {})[0] == 200
    (reply,) = post.wait(emil)
    (run,) = runs(desk, emil)
    (delivery,) = (one for one in deliveries(desk) if one.get("run_id") == run["run_id"])
    assert reply["Message-ID"] == f"<{delivery['delivery_id']}.kheish@example.org>"
    until_running(desk)


def test_a_killed_service_takes_its_sidecar_along_and_brings_it_back(desk: Deployment, post: Post) -> None:
    frida, first = "frida@example.org", sidecar(desk)["pid"]
    desk.kill()
    until(lambda: not alive(first), 10, lambda: f"{first} outlived the service")
    put(post, frida)
    desk.start()
    until_running(desk, after=first)
    post.wait(frida)
    assert len(runs(desk, frida)) == 1

"""Files of an output, from the workspace through the queues to local targets of every kind."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from connectors_app.models import Delivery, DeliveryStatus
from connectors_app.services.contracts import Refused
from connectors_app.services.deliveries import claims, operate
from connectors_app.services.deliveries.pump import Pump
from sessions_app.engine import loop
from sessions_app.models import Asset, AssetReference, Route, Run, Session
from sessions_app.services import assets, runs, sessions
from sessions_app.services.heartbeat import Heartbeat
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.kinds.slack.world import make_slack
from tests.connectors_app.kinds.telegram.rows import make_bot
from tests.connectors_app.people import answer_to, target_of
from tests.connectors_app.rows import sender
from tests.factories import make_asset, make_client, make_session
from tests.sessions_app.engine.conftest import ALICE, call
from tests.support.http_target import HttpTarget
from tests.support.service_process import until
from tests.support.sidecar import FakeSidecar, fake_sidecar
from tests.support.slack_server import SlackServer
from tests.support.telegram_server import TelegramServer

pytestmark = pytest.mark.django_db(transaction=True)
CSV = b"pod,restarts\napi,7\n"
EMIT = call("emit_output", content="see", attachments=[{"path": "pods.csv"}])
Say = Callable[..., Run]


@pytest.fixture
def say(drive: Callable[..., Run], session: Session) -> Say:
    """Make a run that sends ``pods.csv`` to these handles."""

    def play(*handles: dict[str, Any], content: str = "see") -> Run:
        (sessions.workspace(session) / "pods.csv").write_bytes(CSV)
        answer_to(session, *handles)
        emit = call("emit_output", content=content, attachments=[{"path": "pods.csv"}])
        run = drive({"tool_calls": [emit]}, {"text": ""})
        assert run.status == "completed", run.error
        return run

    return play


@pytest.fixture
def slack_server() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def bot_api(monkeypatch: pytest.MonkeyPatch) -> Iterator[TelegramServer]:
    monkeypatch.setenv("PTB_TIMEDELTA", "true")
    with TelegramServer() as server:
        yield server


@pytest.fixture
def sidecar() -> Iterator[FakeSidecar]:
    with fake_sidecar() as server:
        yield server


def delivered(count: int = 1) -> None:
    """Wait until so many deliveries have arrived."""
    rows = Delivery.objects.filter(status=DeliveryStatus.DELIVERED)
    until(lambda: rows.count() == count, 20, lambda: list(Delivery.objects.values("status", "last_error")))


def test_an_http_target_is_told_where_the_file_is(
    say: Say, target: HttpTarget, pump: Callable[..., Pump]
) -> None:
    run = say(target.handle)
    pump()
    target.wait_for(1)
    asset = Asset.objects.get()
    body = target.arrivals[0].body
    about = {
        "asset_id": asset.asset_id, "media_type": "text/csv", "file_name": "pods.csv",
        "sha256": asset.sha256, "size_bytes": len(CSV),
    }  # fmt: skip
    path = f"/v1/assets/{asset.asset_id}/raw"
    assert (body["content"], body["run_id"]) == ("see", run.run_id)
    assert body["artifacts"] == [about]
    assert body["artifact_attachments"] == [{**about, "download_path": path}]
    assert "files" not in body["metadata"] and "reply_targets" not in body["metadata"]
    downloaded = make_client("admin").get(path)
    assert downloaded.status_code == 200 and downloaded.content == CSV
    holders = AssetReference.objects.values_list("domain", "owner_id", "role")
    delivery = Delivery.objects.get()
    assert sorted(holders) == [
        ("delivery", delivery.delivery_id, "attachment"), ("run", run.run_id, "output"),
    ]  # fmt: skip


def test_slack_telegram_and_a_sidecar_get_the_file(
    say: Say, slack_server: SlackServer, bot_api: TelegramServer, sidecar: FakeSidecar, pump: Any
) -> None:
    slack, bot = make_slack(slack_server), make_bot(url=bot_api.url)
    mail = make_external(base_url=sidecar.url, allow_private_network=True)
    say(
        target_of(slack, channel_id="C024BE91L"),
        target_of(bot, chat_id=100),
        target_of(mail, route="r-1"),
    )
    pump()
    delivered(3)
    assert list(slack_server.uploads.values()) == [CSV]
    assert [entry["title"] for entry in slack_server.messages[1]["files"]] == ["pods.csv"]
    [document] = bot_api.named("sendDocument")
    assert (document.files["document"][0], document.files["document"][2]) == ("pods.csv", CSV)
    [body] = sidecar.deliveries
    asset = Asset.objects.get()
    [part] = [part for part in body["parts"] if part["type"] == "attachment"]
    assert (part["id"], part["file_name"], part["byte_length"]) == (asset.asset_id, "pods.csv", len(CSV))


def test_a_file_without_words_goes_out_too(say: Say, target: HttpTarget, pump: Any) -> None:
    say(target.handle, content="")
    pump()
    target.wait_for(1)
    assert target.arrivals[0].body["artifacts"][0]["file_name"] == "pods.csv"


def test_a_file_goes_under_the_name_of_its_run_and_not_of_another_session(
    say: Say, target: HttpTarget, sidecar: FakeSidecar, pump: Any
) -> None:
    first = make_asset(CSV, "text/csv", "layoffs-2027.csv")
    mail = make_external(base_url=sidecar.url, allow_private_network=True)
    say(target.handle, target_of(mail, route="r-1"))
    assert Asset.objects.get().asset_id == first.asset_id
    waiting = Delivery.objects.get(target__plugin="external")
    raw = f"/v1/connectors/external/mail/deliveries/{waiting.delivery_id}/assets/{first.asset_id}/raw"
    assert "layoffs" not in sender().get(raw)["Content-Disposition"]
    pump()
    delivered(2)
    assert [arrival.body["artifacts"][0]["file_name"] for arrival in target.arrivals] == ["pods.csv"]
    assert "layoffs" not in str(target.arrivals[0].body) + str(sidecar.deliveries)


def test_sent_again_it_still_has_its_file(say: Say, target: HttpTarget, pump: Any) -> None:
    target.behave = lambda arrival, before: arrival.answer(410)
    say(target.handle)
    pump()
    until(lambda: Delivery.objects.filter(status="dead_lettered").exists(), 20, lambda: "it lives")
    dead = Delivery.objects.get()
    target.behave = lambda arrival, before: target.take(arrival)
    again, _ = operate.replay(dead.delivery_id, principal=ALICE)
    target.wait_for(1)
    assert target.accepted[0].body["artifacts"] == target.arrivals[0].body["artifacts"]
    assert assets.count_references(Asset.objects.get())[0] == 3
    assert again.attachments == dead.attachments


def test_emitting_and_sending_again_take_their_locks_in_one_order(
    say: Say, session: Session, target: HttpTarget, heartbeat: Heartbeat
) -> None:
    """Two sessions, one file, one target: nobody waits for somebody who waits for them."""
    first = say(target.handle)
    work = claims.take(Delivery.objects.get(run=first).target_id, "worker-1")
    assert work is not None
    claims.settle(work, Refused("terminal", "the target answered 410"), go_on=False)
    dead = Delivery.objects.get(run=first)
    other = make_session("other")
    (sessions.workspace(other) / "pods.csv").write_bytes(CSV)
    answer_to(other, target.handle)
    Route.objects.update(
        options={"script": {"turns": [{"tool_calls": [EMIT] * 8}, {"text": ""}]}},
    )
    run = runs.submit("other", runs.NewRun(content="go"), principal="alice")
    start = threading.Barrier(2)

    def emit() -> None:
        start.wait(10)
        loop.drive(other.pk, heartbeat)
        connection.close()

    def again() -> None:
        start.wait(10)
        for _ in range(8):
            operate.replay(dead.delivery_id, force=True, principal=ALICE)
        connection.close()

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(emit), pool.submit(again)]:
            done.result(60)
    assert runs.get(run.run_id).status == "completed"
    assert Delivery.objects.filter(run=run).count() == 8
    assert Delivery.objects.filter(replayed_from=dead).count() == 8
    assert Asset.objects.count() == 1

"""The documented use cases of several connectors in one session, each through a running service.

What a later run knows of earlier events is read where it counts: in what the model was sent.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from tests.acceptance.conftest import installed
from tests.support import fault_server, platforms
from tests.support.fault_server import Exchange, FaultServer
from tests.support.http_target import HttpTarget
from tests.support.platforms import CHANNEL, CHAT, Post
from tests.support.service import Deployment
from tests.support.service_api import Api
from tests.support.service_process import until
from tests.support.sidecar import fake_sidecar
from tests.support.slack_server import SlackServer
from tests.support.telegram_server import TelegramServer

pytestmark = [pytest.mark.slow, pytest.mark.embedded_only]
ANSWER = "noted: "


class Model(FaultServer):
    """A model that repeats what it was told last. ``most`` is how many runs it ever served at once."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self._answer
        self.most = self._busy = 0
        self.held = threading.Event()
        self.held.set()
        self._counting = threading.Lock()

    def contexts(self, word: str) -> list[list[str]]:
        """What users and assistant had said in each request that holds ``word``, oldest request first."""
        found = [_said(exchange.body["messages"]) for exchange in self.exchanges]
        return [said for said in found if any(word in text for text in said)]

    def _answer(self, exchange: Exchange) -> None:
        with self._counting:
            self._busy += 1
            self.most = max(self.most, self._busy)
        try:
            self.held.wait(20)
            words = ANSWER + _said(exchange.body["messages"])[-1]
            fault_server.stream(fault_server.text(words), fault_server.finish())(exchange)
        finally:
            with self._counting:
                self._busy -= 1


def _said(messages: list[dict[str, Any]]) -> list[str]:
    return [_text(message["content"]) for message in messages if message["role"] in ("user", "assistant")]


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with Model() as made:
        yield made


@pytest.fixture(scope="module")
def desk(
    prepared: Deployment, model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A running service whose runs ask ``model``."""
    pace = {"KHEISH_DELIVERY_INITIAL_RETRY_MS": "50", "KHEISH_SWEEP_SECONDS": "0.5"}
    with installed(prepared, tmp_path_factory.mktemp("desk"), **pace) as own:
        own.start()
        body = {"route_id": "model", "driver": "openai", "base_url": model.base_url, "model": "gpt-4o"}
        status, said = own.ask("POST", "/v1/routes", {**body, "default": True})
        assert status == 201, said
        yield own


def bring(desk: Deployment, *posts: Post) -> list[str]:
    """Let the platforms send these one after the other; the runs they became."""
    runs = []
    for post in posts:
        reply, _ = platforms.insist(desk.url, post)
        assert reply.is_accepted, reply
        runs.append(reply.run_id)
    return runs


def finish(desk: Deployment, session: str, runs: list[str], *, answers: int = 0) -> None:
    """Wait until these runs are done and so many answers sent; prove that they are all, in this order."""
    api = Api(desk.url, desk.token)
    for run_id in runs:
        api.until(run_id, "completed")

    def sent() -> list[str]:
        found = api.client.pages("/v1/deliveries", query={"session_id": session})
        return [each["status"] for each in found]

    until(lambda: sent() == ["delivered"] * answers, 30, sent)
    found = api.client.pages("/v1/runs", query={"session_id": session})
    assert [run["run_id"] for run in found][::-1] == runs
    kinds = [(entry["kind"], entry["run_id"]) for entry in api.journal(session)]
    for kind in ("run.accepted", "run.completed"):
        assert [run_id for each, run_id in kinds if each == kind] == runs


def story(events: list[str]) -> list[list[str]]:
    """The contexts of runs that know all events before their own, and the answers to them."""
    told = [line for event in events for line in (event, ANSWER + event)]
    return [told[: 2 * number + 1] for number in range(len(events))]


def test_one_customer_from_three_connectors(desk: Deployment, model: Model) -> None:
    session, api = "customer-acme", Api(desk.url, desk.token)
    with fake_sidecar() as stripe, fake_sidecar() as discord:
        api.session(session)
        platforms.sidecar(desk, "stripe", stripe.url, fixed_session_id=session)
        platforms.sidecar(desk, "discord", discord.url, fixed_session_id=session)
        platforms.webhook(desk, "crm", fixed_session_id=session)
        events = ["acme: invoice 789 is paid", "acme: where is my receipt?", "acme: plan is now pro"]
        posts = [
            platforms.sidecar_post("stripe", "evt_1", events[0], route="billing"),
            platforms.sidecar_post("discord", "evt_1", events[1], route="channel-7"),  # a name of its own
            platforms.webhook_post("crm", "evt_1", events[2]),
        ]
        runs = bring(desk, *posts)
        assert len(set(runs)) == 3
        finish(desk, session, runs, answers=3)
        assert model.contexts("acme:") == story(events)

        # What each connector knows already is no second run, and no second answer.
        assert bring(desk, *posts) == runs
        finish(desk, session, runs, answers=3)
        assert [(sent["reply_route"], sent["content"]) for sent in stripe.deliveries] == [
            ("billing", ANSWER + events[0])
        ]
        # The webhook names no place: its answer goes where the last one that did has left the session.
        assert [(sent["reply_route"], sent["content"]) for sent in discord.deliveries] == [
            ("channel-7", ANSWER + events[1]),
            ("channel-7", ANSWER + events[2]),
        ]


def test_events_at_the_same_moment_are_runs_one_after_the_other(desk: Deployment, model: Model) -> None:
    session, api = "customer-rush", Api(desk.url, desk.token)
    names = ["shop", "forum", "mail"]
    for name in names:
        platforms.webhook(desk, name, fixed_session_id=session)
    api.session(session)
    model.most = 0
    together = threading.Barrier(9)

    def arrive(number: int) -> str:
        post = platforms.webhook_post(names[number % 3], f"rush-{number}", f"rush: event {number}")
        together.wait(20)
        return bring(desk, post)[0]

    with ThreadPoolExecutor(9) as pool:
        runs = set(pool.map(arrive, range(9)))
    found = list(api.client.pages("/v1/runs", query={"session_id": session}))[::-1]
    assert {run["run_id"] for run in found} == runs and len(runs) == 9
    finish(desk, session, [run["run_id"] for run in found])
    contexts = model.contexts("rush:")
    assert contexts == story([said[-1] for said in contexts])
    assert model.most == 1


Human = tuple[Callable[[str, str], Post], Callable[[], list[str]]]


@contextmanager
def in_telegram(desk: Deployment, session: str) -> Iterator[Human]:
    """A person in a Telegram chat of the session: how one writes there, and what one reads."""
    with TelegramServer() as server:
        platforms.bot(desk, session, server.url, fixed_session_id=session)

        def read() -> list[str]:
            assert {message["chat"]["id"] for message in server.messages} <= {CHAT}
            return [message["text"] for message in server.messages]

        yield lambda key, text: platforms.telegram_post(session, key, text), read


@contextmanager
def in_slack(desk: Deployment, session: str) -> Iterator[Human]:
    """A person in a Slack channel of the session."""
    with SlackServer() as server:
        platforms.slack(desk, session, server.api, fixed_session_id=session)

        def read() -> list[str]:
            assert {message["channel"] for message in server.messages} <= {CHANNEL}
            return [message["text"] for message in server.messages]

        yield lambda key, text: platforms.slack_post(session, key, text), read


@pytest.mark.parametrize("place", [in_telegram, in_slack])
def test_one_incident_from_monitoring_and_people(desk: Deployment, model: Model, place: Any) -> None:
    word = place.__name__
    session = f"incident-{word.replace('_', '-')}"
    with place(desk, session) as (write, read), HttpTarget() as board:
        settings = {"fixed_session_id": session, "default_reply_targets": [board.handle]}
        platforms.webhook(desk, f"monitor-{session}", **settings)
        events = [f"{word}: latency of db-3 is high", f"{word}: I look at it", f"{word}: latency is back"]
        runs: list[str] = []
        alarm, note, calm = (
            platforms.webhook_post(f"monitor-{session}", "alarm", events[0]),
            write("11", events[1]),
            platforms.webhook_post(f"monitor-{session}", "calm", events[2]),
        )
        for post in (alarm, note, calm):
            runs += bring(desk, post, post)[:1]  # providers say things twice
        finish(desk, session, runs, answers=3)
        assert model.contexts(f"{word}:") == story(events)
        assert read() == [ANSWER + events[1]]
        assert board.says() == [ANSWER + events[0], ANSWER + events[2]]
        assert len(board.arrivals) == 2


def test_one_ticket_whose_answers_have_fixed_doors(desk: Deployment, model: Model) -> None:
    """Pinned reply targets stay; the worker dies in the middle, and each door hears each answer once."""
    session, api = "ticket-456", Api(desk.url, desk.token)
    with in_slack(desk, session) as (write, read), HttpTarget() as board:
        platforms.webhook(desk, "tickets", fixed_session_id=session)
        api.session(session, reply_targets=[board.handle])
        address = f"/v1/sessions/{session}/reply-targets"
        answer = desk.ask(
            "PUT", address, {"reply_targets": [board.handle], "pinned": True}, **{"If-Match": "*"}
        )
        assert answer[0] == 200, answer
        events = ["456: moved to review", "456: approved, please ship", "456: shipped"]
        posts = [
            platforms.webhook_post("tickets", "state-1", events[0]),
            write("21", events[1]),
            platforms.webhook_post("tickets", "state-2", events[2]),
        ]
        model.held.clear()
        runs = bring(desk, *posts)
        until(lambda: model.contexts("456:"), 20, lambda: "the model was not asked")
        desk.kill_workers()
        model.held.set()
        desk.revive()
        finish(desk, session, runs, answers=3)
        told = model.contexts("456:")
        assert told[-2:] == story(events)[1:] and told[:-2] == [events[:1]] * (len(told) - 2)
        assert read() == [ANSWER + events[1]]
        assert board.says() == [ANSWER + events[0], ANSWER + events[2]]
        assert len(board.arrivals) == 2

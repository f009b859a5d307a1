"""What people and systems outside see of a running service whose targets, and own workers, fail.

No answer shows twice where a target knows our keys, each doubt is ``unknown`` elsewhere, and every target
gets its answers in their order. The places of an attempt where a worker can die are in ``test_deliveries``.
"""

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import pytest

from tests.acceptance.conftest import Say, installed
from tests.acceptance.test_killed_at_points import Crash
from tests.support import platforms
from tests.support.http_target import Arrival, HttpTarget
from tests.support.platforms import CHANNEL, CHAT
from tests.support.service import ROOT, Deployment
from tests.support.service_api import Api, call
from tests.support.service_process import clean_environment, until
from tests.support.sidecar import fake_sidecar
from tests.support.slack_server import SlackServer
from tests.support.target_faults import broken, gateway, limited, nonsense, reset, took_and_reset
from tests.support.telegram_server import TelegramServer

pytestmark = pytest.mark.slow
WAITING = {"pending", "sending", "retrying"}
TIMEOUT_SECONDS = 1.0
PACE = {
    "KHEISH_DELIVERY_INITIAL_RETRY_MS": "100",
    "KHEISH_DELIVERY_MAX_RETRY_MS": "400",
    "KHEISH_DELIVERY_MAX_ATTEMPTS": "1000",
    "KHEISH_DELIVERY_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
    "KHEISH_DELIVERY_CIRCUIT_FAILURE_THRESHOLD": "0",
    "KHEISH_SWEEP_SECONDS": "0.5",
}
Fault = Callable[["Target", Arrival], None]


class Target(HttpTarget):
    """Fails at the first arrival of a message as ``faults`` says. ``taken`` is all it took, repeats too."""

    def __init__(self, faults: dict[str, Fault]) -> None:
        super().__init__()
        self.taken: list[str] = []
        self._faults = faults
        self.behave = self._behave

    def take(self, arrival: Arrival, *, answer: bool = True) -> None:
        self.taken.append(arrival.body["content"])
        super().take(arrival, answer=answer)

    def first_arrivals(self) -> list[str]:
        """Every content that ever came, in the order of its first arrival."""
        return list(dict.fromkeys(arrival.body["content"] for arrival in self.arrivals))

    def _behave(self, arrival: Arrival, before: int) -> None:
        fault = self._faults.get(arrival.body["content"])
        if before or fault is None:
            self.take(arrival)
        else:
            fault(self, arrival)


def slow(target: Target, arrival: Arrival) -> None:
    arrival.gone.wait(TIMEOUT_SECONDS / 3)
    target.take(arrival)


def silent(target: Target, arrival: Arrival) -> None:
    target.take(arrival, answer=False)
    arrival.gone.wait(20)


def late(target: Target, arrival: Arrival) -> None:
    arrival.gone.wait(TIMEOUT_SECONDS * 1.8)
    target.take(arrival)


CLEAR: list[Fault] = [limited, broken, slow, nonsense]
"""What leaves no doubt."""
DOUBTFUL: list[Fault] = [silent, late, took_and_reset, reset, gateway]
FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (limited, silent, broken, reset, slow, gateway, nonsense, late, took_and_reset)
}
WORDS = [word for fault in FAULTS for word in (fault, f"{fault}, and then")]


def say_all(api: Api, handles: list[dict[str, Any]], words: list[str], session: str) -> str:
    """A run of a new session says these to each handle; its last answer is ``the end``."""
    api.session(session, reply_targets=handles)
    turns = [{"tool_calls": [call("emit_output", content=word) for word in words]}] if words else []
    run = api.submit(session, route_id=api.script(*turns, {"text": "the end"}))
    api.until(run, "completed")
    return session


def states(api: Api, session: str) -> list[str]:
    """What became of all deliveries of a session, oldest first, once none of them waits."""

    def settled() -> list[str]:
        found = api.client.pages("/v1/deliveries", query={"session_id": session})
        known = [each["status"] for each in found][::-1]
        return [] if WAITING & set(known) else known

    return until(settled, 60, lambda: api.client.get(f"/v1/deliveries?session_id={session}"))


@pytest.fixture(scope="module")
def crash(prepared: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crash]:
    folder = tmp_path_factory.mktemp("outbound")
    with installed(prepared, folder, **PACE) as deployment:
        yield Crash(deployment, folder / "died")


@pytest.fixture
def own_running(crash: Crash) -> Deployment:
    """The module's deployment, with workers nobody told to die."""
    crash.move_to("claimed")
    return crash.deployment


def test_every_failure_shows_for_what_it_is(own_running: Deployment, say: Say) -> None:
    api = Api(own_running.url, own_running.token)
    with Target(FAULTS) as keyed, Target(FAULTS) as plain:
        keyed.down(), plain.down()
        say_all(api, [plain.handle], WORDS, "to-plain")
        say_all(api, [keyed.keyed], WORDS, "to-keyed")
        keyed.up(), plain.up()
        began = time.monotonic()
        for part in (0.2, 0.6):  # in the middle of it nobody is left to send
            keyed.wait_for(int(part * len(WORDS)), 60)
            own_running.kill_workers()
            own_running.revive()
        of_plain, of_keyed = states(api, "to-plain"), states(api, "to-keyed")
        seconds = time.monotonic() - began
        words = [*WORDS, "the end"]

        assert of_keyed == ["delivered"] * len(words)
        assert keyed.says() == words  # one key counts once
        assert keyed.first_arrivals() == words

        doubtful = {word for word in FAULTS if FAULTS[word] in DOUBTFUL}
        unknown = {word for word, state in zip(words, of_plain, strict=True) if state == "unknown"}
        delivered = {word for word, state in zip(words, of_plain, strict=True) if state == "delivered"}
        taken = Counter(plain.taken)
        assert unknown | delivered == set(words)
        assert doubtful <= unknown and len(unknown - doubtful) <= 2  # one at most for each death
        assert delivered <= set(taken) and set(taken.values()) == {1}
        for session, target in (("to-plain", plain), ("to-keyed", keyed)):
            kinds = Counter(entry["kind"] for entry in api.journal(session))
            assert kinds["delivery.queued"] == len(words)
            assert kinds["delivery.sent"] + kinds["delivery.unknown"] == len(words), target
        came = plain.first_arrivals()
        assert came == [word for word in words if word in came]
        in_time = [word for word in plain.taken if FAULTS.get(word) is not late]
        assert in_time == [word for word in words if word in in_time]
        say(
            f"{len(words)} answers for two targets in {seconds:.1f} s, {len(keyed.arrivals)} requests to one "
            f"that knows keys, {len(plain.arrivals)} to one that does not ({len(unknown)} unknown)"
        )


@pytest.mark.embedded_only
def test_a_worker_dies_when_a_platform_has_taken_it(crash: Crash) -> None:
    """Slack and Telegram know no keys: a person decides. A sidecar recognises the delivery."""
    crash.move_to("delivery.sent")
    service = crash.deployment
    with SlackServer() as slack, TelegramServer() as bot, fake_sidecar() as mail:
        platforms.slack(service, "chat", slack.api)
        platforms.bot(service, "bot", bot.url)
        platforms.sidecar(service, "mail", mail.url)
        doors: dict[str, dict[str, Any]] = {
            "slack": {"connector": "chat", "channel_id": CHANNEL, "team_id": "T061EG9R6"},
            "telegram": {"connector": "bot", "chat_id": CHAT},
            "external": {"connector": "mail", "route": "inbox"},
        }
        for plugin, address in doors.items():
            crash.arm()
            session = say_all(crash.api, [{"plugin": plugin, "address": address}], [], f"at-{plugin}")
            crash.died_at()
            wanted = "delivered" if plugin == "external" else "unknown"
            assert states(crash.api, session) == [wanted], plugin
            found = crash.api.client.get(f"/v1/deliveries?session_id={session}")["items"][0]
            assert found["attempts"] == (2 if plugin == "external" else 1)
        assert [message["text"] for message in slack.messages] == ["the end"]
        assert [message["text"] for message in bot.messages] == ["the end"]
        assert [sent["content"] for sent in mail.deliveries] == ["the end", "the end"]
        assert len({sent["delivery_id"] for sent in mail.deliveries}) == 1
        assert len({headers["idempotency-key"] for headers in mail.headers}) == 1


BACKLOG = """
from connectors_app.models import Delivery
from kheish_site.lib.ids import new_id

for like in Delivery.objects.order_by("id"):
    fields = {"target_id": like.target_id, "session_id": like.session_id, "created_at": like.created_at}
    Delivery.objects.bulk_create(
        Delivery(delivery_id=new_id("dlv"), key=f"backlog:{number}", content=f"{number}", **fields)
        for number in range(1, 50)
    )
"""
"""Puts 49 more behind each delivery there is. For a run to say them would take longer than the test."""


def queue_more(service: Deployment) -> None:
    """Run ``BACKLOG`` in a process of the installation."""
    told = {**service.environment, "KHEISH_STATE_DIR": str(service.state_dir)}
    command = [sys.executable, "manage.py", "shell", "-v", "0", "-c", BACKLOG]
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environment(told), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def shortest(crowd: HttpTarget) -> int:
    """How many the target of the twenty that has the fewest has accepted."""
    counts = Counter(each.path for each in crowd.accepted)
    return min(counts.values()) if len(counts) == 20 else 0


@pytest.mark.services_only
def test_a_thousand_for_slow_targets_delay_nobody_else(own: Deployment, say: Say) -> None:
    """Twenty slow targets, more than a worker has threads, with fifty answers each."""
    busy: Counter[str] = Counter()
    most: Counter[str] = Counter()
    begin = threading.Event()

    def behave(arrival: Arrival, before: int) -> None:
        busy[arrival.path] += 1
        most[arrival.path] = max(most[arrival.path], busy[arrival.path])
        begin.wait(60)
        arrival.gone.wait(0.25)
        busy[arrival.path] -= 1
        crowd.take(arrival)

    with HttpTarget() as crowd, HttpTarget() as quick:
        own.start(KHEISH_DELIVERY_TIMEOUT_SECONDS="60", KHEISH_DELIVERY_THREADS="16")
        api = Api(own.url, own.token)
        crowd.behave = behave
        many = [
            {"plugin": "http", "address": {**crowd.address, "url": f"{crowd.address['url']}/{number}"}}
            for number in range(20)
        ]
        say_all(api, many, [], "crowd")
        session = api.session("quick")
        queue_more(own)
        begin.set()
        crowd.wait_for(40, 60)
        waits = []
        for number in range(1, 6):
            began = time.monotonic()
            body = {"session_id": session, "output": {"content": f"{number}"}, "handle": quick.handle}
            assert own.ask("POST", "/v1/deliveries", body)[0] == 202
            quick.wait_for(number, 30)
            waits.append(time.monotonic() - began)
        left = 1000 - len(crowd.accepted)
        until(lambda: shortest(crowd) > 3, 20, lambda: Counter(each.path for each in crowd.accepted))
        own.end()
    say(f"waited {', '.join(f'{wait:.2f}' for wait in waits)} s behind {left} for 20 slow targets")
    assert quick.says() == ["1", "2", "3", "4", "5"]
    assert left > 300
    assert median(waits) < 5 and max(waits) < 10  # in the order of arrival it would be over twelve
    assert set(most.values()) == {1}  # never two at a time at one target
    words = ["the end", *(str(number) for number in range(1, 50))]
    for handle in many:
        came = [each for each in crowd.accepted if handle["address"]["url"].endswith(each.path)]
        assert [each.body["content"] for each in came] == words[: len(came)]

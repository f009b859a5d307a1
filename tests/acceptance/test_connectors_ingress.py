"""Providers at their worst: repeats, disorder, forged signatures, and processes that die while they send.

Exactly one run comes of each good event and none of a bad one. Whatever was answered before another event
was sent comes before it.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Say, installed
from tests.support import platforms
from tests.support.platforms import Post, Reply
from tests.support.service import SERVICES, Deployment, Service
from tests.support.service_api import Api
from tests.support.service_process import kill, until

pytestmark = pytest.mark.slow
EACH, IN_LINE, THREADS = 12, 12, 6
NOWHERE = "http://127.0.0.1:9"
ECHO = {
    "route_id": "echo", "driver": "scripted", "model": "script", "default": True,
    "options": {"script": {"turns": [{"text": "{{ input }}"}]}},
}  # fmt: skip


@dataclass
class Event:
    """One event of a platform: how it is sent, how it is forged, and what came of it."""

    text: str
    good: Callable[[], Post]
    bad: list[Callable[[], Post]]
    sent: float = float("inf")
    answered: float = float("inf")
    replies: list[Reply] = field(default_factory=list)

    @property
    def run_id(self) -> str:
        """Its one run."""
        (found,) = {reply.run_id for reply in self.replies}
        return found


class Senders:
    """What all the clients do, and how often they got no answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done = self.failures = self.refused = 0
        self._changed = threading.Condition()

    def deliver(self, event: Event) -> None:
        """Send it until it is answered: it is good, so it is accepted."""
        with self._changed:
            event.sent = min(event.sent, time.monotonic())
        reply, failures = platforms.insist(self.url, event.good())
        assert reply.is_accepted, (event.text, reply)
        with self._changed:
            event.answered = min(event.answered, time.monotonic())
            event.replies.append(reply)
        self._count(failures)

    def forge(self, make: Callable[[], Post]) -> None:
        """Send what nobody signed: it is refused."""
        reply, failures = platforms.insist(self.url, make())
        assert reply.status == 401, reply
        self._count(failures, refused=1)

    def wait(self, done: int) -> None:
        """Wait until so many were answered."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.done >= done, 60), self.done

    def _count(self, failures: int, refused: int = 0) -> None:
        with self._changed:
            self.done, self.failures = self.done + 1, self.failures + failures
            self.refused += refused
            self._changed.notify_all()


def bare(post: Post) -> Post:
    """Without anything that proves where it comes from."""
    return replace(post, headers={})


def changed(post: Post) -> Post:
    """Signed, and changed afterwards."""
    return replace(post, body=post.body.replace(b"event", b"evil!"))


def by_webhook(number: int, name: str = "alerts") -> Event:
    text = f"{name} event {number}"

    def make(**how: Any) -> Post:
        return platforms.webhook_post(name, f"event-{number}", text, **how)

    return Event(text, make, [
        lambda: make(secret="whsec_d3Jvbmc="), lambda: make(age=900), lambda: make(age=-900),
        lambda: bare(make()), lambda: changed(make()),
    ])  # fmt: skip


def by_slack(number: int) -> Event:
    text = f"chat event {number}"

    def make(**how: Any) -> Post:
        return platforms.slack_post("chat", str(number), text, **how)

    return Event(text, make, [
        lambda: make(secret="wrong"), lambda: make(age=900), lambda: bare(make()), lambda: changed(make()),
    ])  # fmt: skip


def by_telegram(number: int) -> Event:
    text = f"bot event {number}"

    def make(**how: Any) -> Post:
        return platforms.telegram_post("bot", str(number), text, **how)

    return Event(text, make, [lambda: make(secret="wrong"), lambda: make(secret="")])


def by_sidecar(number: int) -> Event:
    text = f"mail event {number}"

    def make(**how: Any) -> Post:
        return platforms.sidecar_post("mail", f"event-{number}", text, **how)

    return Event(text, make, [lambda: make(token="wrong"), lambda: make(token="")])


SOURCES: list[Callable[[int], Event]] = [by_webhook, by_slack, by_telegram, by_sidecar]


def connect(service: Deployment, session: str) -> None:
    """Let four connectors feed one session, and a fifth the session ``line``."""
    assert service.ask("POST", "/v1/routes", ECHO)[0] == 201
    shared = {"fixed_session_id": session, "include_self_output": False}
    platforms.webhook(service, "alerts", fixed_session_id=session)
    platforms.webhook(service, "line", fixed_session_id="line")
    platforms.slack(service, "chat", NOWHERE, **shared)
    platforms.bot(service, "bot", NOWHERE, **shared)
    platforms.sidecar(service, "mail", NOWHERE, **shared)


def shuffled(chance: random.Random, events: list[Event], senders: Senders) -> list[Callable[[], None]]:
    """Every good event one to five times and every forgery of some, in any order."""
    todo: list[Callable[[], None]] = []
    for event in events:
        todo += [lambda event=event: senders.deliver(event)] * chance.randint(1, 5)  # type: ignore[misc]
        if chance.random() < 0.5:
            todo += [lambda make=make: senders.forge(make) for make in event.bad]  # type: ignore[misc]
    for source in SOURCES:  # and some of which there is no good one
        todo += [lambda make=make: senders.forge(make) for make in source(999).bad]  # type: ignore[misc]
    chance.shuffle(todo)
    return todo


def one_after_the_other(chance: random.Random, line: list[Event], senders: Senders) -> None:
    """A provider that sends the next event when the last is answered, and repeats what it sent before."""
    for number, event in enumerate(line):
        senders.deliver(event)
        for again in chance.choices(line[: number + 1], k=chance.randint(0, 2)):
            senders.deliver(again)


def runs_of(api: Api, session: str) -> list[dict[str, Any]]:
    """All runs of a session in the order of their positions, once they are completed."""

    def all_done() -> list[dict[str, Any]]:
        found = list(api.client.pages("/v1/runs", query={"session_id": session}))
        return found if {run["status"] for run in found} == {"completed"} else []

    found = until(all_done, 90, lambda: Counter(
        run["status"] for run in api.client.pages("/v1/runs", query={"session_id": session})
    ))  # fmt: skip
    return found[::-1]


def prove(api: Api, session: str, events: list[Event]) -> list[dict[str, Any]]:
    """One completed run for each event, in an order that nobody outside can call wrong."""
    runs = runs_of(api, session)
    assert Counter(run["input_items"][0]["text"] for run in runs) == Counter(event.text for event in events)
    said = {run["run_id"]: run["input_items"][0]["text"] for run in runs}
    assert {event.run_id: event.text for event in events} == said
    place = {run["run_id"]: number for number, run in enumerate(runs)}
    wrong = [
        (first.text, second.text)
        for first in events
        for second in events
        if first.answered < second.sent and place[first.run_id] > place[second.run_id]
    ]
    assert not wrong
    kinds = [(entry["kind"], entry["run_id"]) for entry in api.journal(session)]
    for kind in ("run.accepted", "run.completed"):
        assert [run_id for each, run_id in kinds if each == kind] == [run["run_id"] for run in runs]
    return runs


def activities(service: Deployment) -> list[dict[str, Any]]:
    """What the four connectors of ``SOURCES`` say of themselves."""
    names = [("http", "alerts"), ("slack", "chat"), ("telegram", "bot"), ("external", "mail")]
    return [service.ask("GET", f"/v1/runtime/connectors/{'/'.join(name)}")[1]["activity"] for name in names]


def refused_by(service: Deployment) -> int:
    """How many refusals are on record."""
    return sum(int(activity["refused_events"]) for activity in activities(service))


@pytest.fixture
def open_house(prepared: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    """A running service that all platforms feed."""
    with installed(prepared, tmp_path, KHEISH_SWEEP_SECONDS="0.5") as own:
        own.start()
        connect(own, "storm")
        yield own


def test_a_storm_makes_one_run_of_each_good_event(open_house: Deployment, say: Say) -> None:
    assert len(open_house.workers()) == (2 if SERVICES else 1)
    seed = random.SystemRandom().randrange(10**6)
    say(f"storm {seed}")
    chance, senders = random.Random(seed), Senders(open_house.url)
    events = [source(number) for source in SOURCES for number in range(1, EACH + 1)]
    line = [by_webhook(number, "line") for number in range(1, IN_LINE + 1)]
    todo = shuffled(chance, events, senders)
    forgotten = 0
    with ThreadPoolExecutor(THREADS + 1) as pool:
        began = time.monotonic()
        working = [pool.submit(one_after_the_other, chance, line, senders)]
        working += [pool.submit(each) for each in todo]
        senders.wait(len(todo) // 4)
        open_house.kill_workers()
        open_house.revive()
        if isinstance(open_house, Service):
            written = refused_by(open_house)
            kill(open_house.children()["web"])  # its supervisor brings it back
            # It may have had the others in memory, and an answer on its way to each sender.
            forgotten = max(0, senders.refused + THREADS - written)
        senders.wait(len(todo) // 2)
        open_house.kill_workers()
        open_house.revive()
        for each in working:
            each.result(120)
        seconds = time.monotonic() - began
    api = Api(open_house.url, open_house.token)
    prove(api, "storm", events)
    in_line = prove(api, "line", line)
    assert [run["input_items"][0]["text"] for run in in_line] == [event.text for event in line]
    for activity in activities(open_house):
        assert activity["accepted_events"] == EACH, activity
        assert {each["code"] for each in activity["refusals"]} <= {"ingress_unauthorized"}, activity
    # One whose answer was lost is counted twice.
    expected = senders.refused - forgotten
    until(lambda: refused_by(open_house) >= expected, 30, lambda: (expected, activities(open_house)))
    say(f"{senders.done} requests in {seconds:.1f} s, {senders.failures} of them again, {expected} refused")


@pytest.mark.parametrize(
    ("point", "sources"),
    [
        ("ingress.submitted", [by_webhook, by_sidecar])
        if SERVICES
        else ("ingress.accepted", [by_slack, by_telegram])
    ],
)
def test_the_web_process_dies_between_event_and_answer(
    prepared: Deployment, tmp_path: Path, point: str, sources: list[Callable[[int], Event]]
) -> None:
    """Before the commit nothing is kept, after it everything: the provider cannot tell, and need not."""
    marker = tmp_path / "died"
    marker.touch()
    crash = {"KHEISH_CRASHPOINT": point, "KHEISH_CRASHPOINT_ONCE": str(marker)}
    with installed(prepared, tmp_path, Service, KHEISH_SWEEP_SECONDS="0.5", **crash) as own:
        own.start()
        connect(own, "storm")
        senders = Senders(own.url)
        events = [source(1) for source in sources]
        for event in events:
            web = own.children()["web"]
            marker.unlink()
            senders.deliver(event)
            assert marker.exists() and own.children()["web"] != web
            assert [reply.replayed for reply in event.replies] == [point == "ingress.accepted"]
        assert senders.failures >= len(events)
        runs = prove(Api(own.url, own.token), "storm", events)
        assert [run["input_items"][0]["text"] for run in runs] == [event.text for event in events]

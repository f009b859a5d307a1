"""What clients do to the service while it is tortured, each with a transcript of its own.

Every question is asked until it is answered, under the same idempotency key: a client that got no answer
does not know what happened, like any client. What was asked is on the disk before it leaves.
"""

import http.client
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from kheish_site.cli.sse import parse
from tests.torture.oracles import effect_command
from tests.torture.record import Record

PLANS: Final = ("plain", "look", "say", "write", "act", "ask", "batch", "twice")
WEIGHTS: Final = (4, 1, 4, 2, 6, 6, 2, 2)
KINDS: Final = ("approval", "question", "decision", "delivery", "cancel")
RACERS: Final = (2, 4, 8, 16)
MODES: Final = ("same", "split")
CELLS: Final = tuple((kind, k, mode) for kind in KINDS for k in RACERS for mode in MODES)
"""Every kind of wait, with every number of deciders, who agree or do not: 40 cells."""
_MAKES: Final = {"approval": "act", "question": "ask", "decision": "act"}
"""Which plan makes something to race for."""
LEFT_ALONE: Final = 0.01
MOST_LIVE: Final = 120
_AGAIN_SECONDS: Final = 0.1
_WRITERS: Final = 3
_READERS: Final = 4
Answer = tuple[int, Any]


class Gone(Exception):
    """The torture is over: nobody waits for an answer any more."""


class Caller:
    """One token's way to the service."""

    def __init__(self, url: str, token: str, over: threading.Event, *, seconds: float = 15.0) -> None:
        """``seconds`` is how long one answer is waited for."""
        self.url, self.token, self._over, self._seconds = url, token, over, seconds

    def once(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask once; status 0 when there is no whole answer."""
        told = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", **headers}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=told, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refusal:
            return refusal.code, _json(refusal)
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None

    def insist(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Ask until there is an answer that is no failure of the service. Raises: Gone."""
        while True:
            status, said = self.once(method, path, body, **headers)
            if status and status < 500 and status != 429:
                return status, said
            if self._over.wait(_AGAIN_SECONDS):
                raise Gone(path)

    def post(self, path: str, body: Any, *, key: str = "") -> Answer:
        """Create or decide, once however often it is asked."""
        return self.insist("POST", path, body, **{"Idempotency-Key": key or uuid.uuid4().hex})

    def get(self, path: str) -> Any:
        """Read. Raises: Gone."""
        return self.insist("GET", path)[1]

    def pages(self, path: str) -> list[Any]:
        """Read a whole list."""
        found: list[Any] = []
        cursor, sign = "", "&" if "?" in path else "?"
        while True:
            page = self.get(f"{path}{sign}limit=100{cursor}")
            found += page["items"]
            following = page["pagination"].get("next_cursor")
            if not following:
                return found
            cursor = f"&cursor={following}"


def is_unasked(number: int) -> bool:
    """Tell whether shell commands of the session of this number need no approval."""
    return number % 5 in (0, 2)


def _json(refusal: urllib.error.HTTPError) -> Any:
    try:
        return json.loads(refusal.read())
    except (ValueError, OSError, http.client.HTTPException):
        return None


class Load:
    """All clients. ``quiet`` ends what brings new work, ``pausing`` lets nobody decide, ``over`` ends all."""

    def __init__(
        self, *, url: str, token: str, folder: Path, seed: int, sessions: list[str], effects_port: int,
        event_token: str, effects: Callable[[], set[str]], races_a_cell: int, plans: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """``plans`` are all that is asked for, by whom it may be; else any plan is, by its weight."""
        self.quiet, self.over, self.pausing = threading.Event(), threading.Event(), threading.Event()
        self.caller = Caller(url, token, self.over)
        self.connector = Caller(url, event_token, self.over)
        self.inputs = Record(folder / "inputs.jsonl")
        self.decisions_path = folder / "decisions.jsonl"
        self.decisions = Record(self.decisions_path)
        self.events = Record(folder / "events.jsonl")
        self._folder, self._seed, self._sessions = folder, seed, sessions
        self._effects_port, self._effects = effects_port, effects
        self.cells: Counter[tuple[str, int, str]] = Counter()
        self.cuts, self.runs = 0, 0
        self._races_a_cell = races_a_cell
        self._plans, self._weights = (plans, [1] * len(plans)) if plans else (PLANS, list(WEIGHTS))
        self._event_plans = plans or ("plain", "say", "look")
        self.failures: list[str] = []
        # As many as can stand at barriers at once, and senders of events: fewer would wait for each other.
        self._racers = ThreadPoolExecutor(len(KINDS) * max(RACERS) + 4, thread_name_prefix="racer")
        self._seen: set[str] = set()
        self.live, self._updates = 0, 100
        self._threads: list[threading.Thread] = []

    def start(self, arrive: Callable[[int, str], None]) -> None:
        """Begin everything; ``arrive`` makes the bot get a message."""
        for number in range(_WRITERS):
            self._begin(f"writer-{number}", self._submit, self.quiet)
        self._begin("events", self._send_events, self.quiet)
        self._begin("updates", lambda chance: self._update(chance, arrive), self.quiet)
        self._begin("canceller", self._cancel, self.quiet)
        self._begin("gauge", self._gauge, self.quiet)
        for kind in ("approval", "question", "decision", "delivery"):
            self._begin(f"decider-{kind}", lambda chance, kind=kind: self._decide(kind, chance), self.over)
        for number in range(_READERS):
            reader = Reader(self, self._folder / f"stream-{number}.jsonl", self._sessions[number::_READERS])
            self._begin(f"reader-{number}", reader.read, self.over)

    def end(self) -> None:
        """Stop everything and wait for it."""
        self.quiet.set()
        self.over.set()
        for thread in self._threads:
            thread.join(30)
        self._racers.shutdown()

    def _begin(self, name: str, act: Callable[[random.Random], Any], until: threading.Event) -> None:
        chance = random.Random(f"{self._seed}:{name}")

        def go_on() -> None:
            while not until.is_set():
                try:
                    act(chance)
                except Gone:
                    return
                except Exception as error:
                    self.failures.append(f"{name}: {error!r}")
                    time.sleep(1)

        thread = threading.Thread(target=go_on, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _gauge(self, chance: random.Random) -> None:
        counts = [
            self.caller.get(f"/v1/runs?status={status}&limit=1")["pagination"]["total_count"]
            for status in ("queued", "running")
        ]
        self.live = sum(counts)
        self.runs = self.caller.get("/v1/runs?limit=1")["pagination"]["total_count"]
        self.quiet.wait(0.7)

    def _submit(self, chance: random.Random) -> None:
        if self.live > MOST_LIVE:
            self.quiet.wait(0.3)
            return
        token = f"r{uuid.UUID(int=chance.getrandbits(128)).hex[:10]}"
        plan, sessions = self._wanted_most(chance)
        session = chance.choice(sessions)
        self.inputs.add("asked", token=token, plan=plan, session=session)
        path, body = f"/v1/sessions/{session}/runs", {"content": f"torture {token} {plan}"}
        for _ in range(chance.choices((1, 2, 3), (8, 1, 1))[0]):
            status, said = self.caller.post(path, body, key=f"key-{token}")
            run_id = said.get("run_id", "") if isinstance(said, dict) else ""
            self.inputs.add("answered", token=token, status=status, run_id=run_id, session=session)
        self.quiet.wait(chance.uniform(0.1, 0.5))

    def _wanted_most(self, chance: random.Random) -> tuple[str, list[str]]:
        """Return a plan and where to play it: every second time what makes the races that miss most."""
        missing = {kind: self.missing_races(kind) for kind in _MAKES}
        kind = max(missing, key=lambda each: missing[each])
        if self._plans is not PLANS or not missing[kind] or chance.random() < 0.5:
            return chance.choices(self._plans, self._weights)[0], self._sessions
        # An effect is in flight sooner, when a worker dies, where nobody is asked before it.
        unasked = [name for number, name in enumerate(self._sessions) if is_unasked(number)]
        return _MAKES[kind], unasked if kind == "decision" else self._sessions

    def missing_races(self, kind: str) -> int:
        """Return how many races of this kind have not been run yet."""
        return sum(max(0, self._races_a_cell - self.cells[cell]) for cell in CELLS if cell[0] == kind)

    def _send_events(self, chance: random.Random) -> None:
        """The same event comes from one to four senders at once, as gateways do."""
        token = f"e{uuid.UUID(int=chance.getrandbits(128)).hex[:10]}"
        plan = chance.choice(self._event_plans)
        body = {"content": f"torture {token} {plan}", "idempotency_key": token}
        body["session_id"] = chance.choice(self._sessions)
        self.events.add("sent", token=token)

        def send(number: int) -> None:
            status, said = self.connector.insist("POST", "/v1/connectors/http/alerts", body)
            self.events.add(
                "answered", token=token, status=status, run_id=(said or {}).get("run_id", ""),
                session=body["session_id"],
            )  # fmt: skip

        list(self._racers.map(send, range(chance.randint(1, 4))))
        self.quiet.wait(chance.uniform(0.2, 1.0))

    def _update(self, chance: random.Random, arrive: Callable[[int, str], None]) -> None:
        """A person writes to the bot, and waits a little: what was sent too fast would be a backlog."""
        self._updates += 1
        arrive(self._updates, f"torture u{chance.getrandbits(20)}-{self._updates} plain")
        self.quiet.wait(chance.uniform(2.0, 4.5))

    def _cancel(self, chance: random.Random) -> None:
        self.quiet.wait(chance.uniform(0.4, 1.2))
        status = chance.choice(("queued", "running", "running", "waiting_for_approval"))
        found = self.caller.get(f"/v1/runs?status={status}&limit=20")["items"]
        if not found:
            return
        run = chance.choice(found)
        k, mode = self._next_cell("cancel")

        def stop(number: int) -> None:
            path, choice = f"/v1/runs/{run['run_id']}/cancel", "cancel"
            if mode == "split" and number % 2:
                path, choice = f"/v1/sessions/{run['session_id']}/interrupt", "interrupt"
            status, said = self.caller.post(path, {})
            self.decisions.add(
                "decided", kind="cancel", item=run["run_id"], choice=choice, status=status, said=_brief(said)
            )

        self._race(k, stop)
        self.cells["cancel", k, mode] += 1

    def _next_cell(self, kind: str) -> tuple[int, str]:
        """Return the cell of this kind that was raced least; a small one once all were raced enough."""
        mine = [cell for cell in CELLS if cell[0] == kind]
        _, k, mode = min(mine, key=lambda cell: self.cells[cell])
        return (k, mode) if self.cells[kind, k, mode] < self._races_a_cell else (RACERS[0], mode)

    def _race(self, k: int, act: Callable[[int], None]) -> None:
        barrier = threading.Barrier(k)

        def one(number: int) -> None:
            barrier.wait(300)
            act(number)

        list(self._racers.map(one, range(k)))

    def _decide(self, kind: str, chance: random.Random) -> None:
        """Look at everything that waits, and let several people decide each at once."""
        if self.pausing.is_set():
            time.sleep(0.1)
            return
        name = {"approval": "approvals", "question": "questions", "decision": "decisions"}.get(kind)
        if name is None:
            found = self.caller.get("/v1/deliveries?status=unknown&limit=50")["items"]
        else:
            found = self.caller.get(f"/v1/{name}?status=pending&limit=50")["items"]
        new = [item for item in found if item[f"{kind}_id"] not in self._seen]
        for item in new:
            if self.over.is_set() or self.pausing.is_set():
                return
            self._seen.add(item[f"{kind}_id"])
            if kind != "delivery" and chance.random() < LEFT_ALONE:
                self.decisions.add("left_alone", kind=kind, item=item[f"{kind}_id"], run_id=item["run_id"])
                continue
            self._decide_one(kind, item, chance)
        if not new:
            self.over.wait(0.4)

    def _decide_one(self, kind: str, item: dict[str, Any], chance: random.Random) -> None:
        k, mode = self._next_cell(kind)
        path, first, second = getattr(self, f"_words_on_{kind}")(item, chance)
        item_id = item[f"{kind}_id"]

        def decide(number: int) -> None:
            choice = second if mode == "split" and number % 2 else first
            self.decisions.add("deciding", kind=kind, item=item_id, choice=choice)
            status, said = self.caller.post(path, choice)
            self.decisions.add(
                "decided", kind=kind, item=item_id, choice=choice, status=status, said=_brief(said),
                run_id=item.get("run_id") or "",
            )  # fmt: skip

        self._race(k, decide)
        self.cells[kind, k, mode] += 1

    def _words_on_approval(self, item: dict[str, Any], chance: random.Random) -> tuple[str, Any, Any]:
        yes: dict[str, Any] = {"behavior": "allow"}
        if item["tool_name"] == "bash" and chance.random() < 0.35:
            key = item["input"]["command"].partition('"effect": "')[2].partition('"')[0]
            yes["updated_input"] = {"command": effect_command(self._effects_port, key, "as-edited")}
        no = {"behavior": "deny", "reason": "not today"}
        words = (no, yes) if chance.random() < 0.15 else (yes, no)
        return f"/v1/approvals/{item['approval_id']}/resolve", *words

    def _words_on_question(self, item: dict[str, Any], chance: random.Random) -> tuple[str, Any, Any]:
        answers = [
            {"question_id": asked["id"], "selected_option_ids": [asked["options"][0]["id"]]}
            for asked in item["questions"]
        ]
        return f"/v1/questions/{item['question_id']}/resolve", {"answers": answers}, {"declined": True}

    def _words_on_decision(self, item: dict[str, Any], chance: random.Random) -> tuple[str, Any, Any]:
        """The operator looks at the target first, and tells the truth."""
        time.sleep(0.3)
        key = item["input"].get("command", "").partition('"effect": "')[2].partition('"')[0]
        truth = "happened" if key in self._effects() else "not_happened"
        other = chance.choice(("tell_agent", "tell_agent", "give_up"))
        return f"/v1/decisions/{item['decision_id']}/resolve", {"outcome": truth}, {"outcome": other}

    def _words_on_delivery(self, item: dict[str, Any], chance: random.Random) -> tuple[str, Any, Any]:
        path = f"/v1/deliveries/{item['delivery_id']}/decide"
        return path, {"outcome": "happened"}, {"outcome": "give_up"}


class Reader:
    """Follows some sessions by their streams, cutting the connection after a few events each time."""

    def __init__(self, load: Load, path: Path, sessions: list[str]) -> None:
        self._load, self._record = load, Record(path)
        self._places = dict.fromkeys(sessions, 0)

    def read(self, chance: random.Random) -> None:
        """Read on in one session, for a while. A stream that never opened is not one that was cut."""
        session = chance.choice(list(self._places))
        wanted, until = chance.randint(1, 25), time.monotonic() + chance.uniform(0.3, 3.0)
        try:
            self._follow(session, wanted, until)
        except (OSError, http.client.HTTPException, ValueError):
            time.sleep(0.2)

    def _follow(self, session: str, wanted: int, until: float) -> None:
        caller, address = self._load.caller, urlsplit(self._load.caller.url)
        headers = {"Authorization": f"Bearer {caller.token}", "Accept": "text/event-stream"}
        headers["Last-Event-ID"] = str(self._places[session])
        wire = http.client.HTTPConnection(address.hostname or "", address.port, timeout=3)
        with closing(wire):
            wire.request("GET", f"/v1/sessions/{session}/stream", headers=headers)
            answer = wire.getresponse()
            if answer.status != 200:
                return
            self._load.cuts += 1
            for event in parse(answer):
                if event.id and event.data is not None:  # the first frame is a place alone
                    self._note(session, event)
                    wanted -= 1
                if wanted <= 0 or time.monotonic() > until:
                    return

    def _note(self, session: str, event: Any) -> None:
        self._record.add(
            "event", session=session, asked_after=self._places[session], id=int(event.id), kind=event.name,
            hash=event.data.get("hash"), run_id=event.data.get("run_id"),
        )  # fmt: skip
        self._places[session] = int(event.id)


def _brief(said: Any) -> Any:
    """Keep what a decision's answer says of who won."""
    if not isinstance(said, dict):
        return None
    names = (
        "status",
        "decision",
        "outcome",
        "answers",
        "code",
        "run_status",
        "approval_status",
        "error_code",
    )
    return {name: said[name] for name in names if name in said}

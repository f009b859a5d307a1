"""One torture from beginning to end: build the world, hurt it, let it heal, judge what is left."""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kheish_site.lib.crashpoints import POINTS
from kheish_site.supervisor.children import die_with_parent
from kheish_site.testing.ports import free_port
from tests.support import platforms
from tests.support.service_process import ROOT
from tests.support.telegram_server import TOKEN as BOT_TOKEN
from tests.torture import evidence as evidence_of
from tests.torture import stage as processes
from tests.torture.evidence import ORACLES, Evidence
from tests.torture.faults import Torturer
from tests.torture.invariants import STILL_SECONDS, judge_all
from tests.torture.load import CELLS, KINDS, Caller, Load, is_unasked
from tests.torture.record import Record, read
from tests.torture.report import Report, Wanted, commit
from tests.torture.schedule import Life, Profile, Role
from tests.torture.stage import CANARY, Ground, Stage
from tests.torture.starved import Watch

SESSIONS: Final = {"services": 48, "embedded": 16}
FEW_SESSIONS: Final = 20
"""For the proof that one bug is caught, which lasts seconds: more happens in each."""
QUEUED: Final = ("pending", "sending", "retrying")
EXPIRY_SECONDS: Final = 2
EVENT_TOKEN: Final = "torture-event-token"
CALM_SECONDS: Final = 600.0
"""However slow the machine: what is not over by then goes round in circles."""
_SCHEDULES: Final = 4
_UNFORESEEN: Final = ("run failed unexpectedly", "a tool broke", "a probe broke")
"""What the service logs of its own mistakes: also where a run has survived one, it is red."""
_WITNESSES: Final = ("keyed", "plain", "sidecar", "keyed", "", "asked", "plain", "bot", "bot")
"""Where the answers of one session after the other go."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to do. Faults end when all that is wanted has happened and ``seconds`` are over, or at ``limit``.

    Of a proof that one bug is caught nothing is ``wanted`` but ``runs``: a slow machine takes longer.
    """

    seed: int
    profile: Profile
    wanted: Wanted | None
    seconds: float
    limit: float
    command: str
    runs: int = 0
    bug: str = ""
    keep: bool = False
    lives: Mapping[Role, Sequence[Life]] | None = None
    faults: Sequence[str] = ()
    plans: Sequence[str] = ()


class Oracle:
    """One witness's process."""

    def __init__(self, name: str, folder: Path, seed: int, port: int) -> None:
        told = [name, str(folder / f"{name}.jsonl"), str(seed), str(port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.oracles", *told], cwd=ROOT,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        self._folder = folder

    def url(self) -> str:
        """Where it is; waits for it."""
        assert self._process.stdout is not None
        return str(json.loads(self._process.stdout.readline())["url"])

    def say(self, words: str) -> None:
        """Tell it something."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(words + "\n")
            self._process.stdin.flush()

    def end(self) -> None:
        """Leave nothing running."""
        self._process.kill()
        self._process.wait()


class World:
    """The service, its witnesses and its clients."""

    def __init__(self, order: Order, folder: Path, ground: Ground) -> None:
        self.order, self.folder = order, folder
        self.record = Record(folder / "faults.jsonl")
        self.oracles: dict[str, Oracle] = {}
        self.urls: dict[str, str] = {}
        self.calm: list[int] = []
        self._never = threading.Event()
        self._fires: list[str] = []
        self.stage = Stage(folder, ground, self.record, order.bug)
        self.watch = Watch(self.record, self.stage.workers, processes.LEASE_SECONDS)

    def build(self) -> None:
        """Start everything, unharmed, and write the configuration."""
        plain_port = free_port()
        for name in ORACLES:
            port = plain_port if name in ("plain", "model") else 0
            self.oracles[name] = Oracle(name, self.folder, self.order.seed, port)
        self.effects_port = plain_port
        self.start_calm()
        self.urls = {name: oracle.url() for name, oracle in self.oracles.items()}
        self.stage.wait_ready()
        self._configure()

    def start_calm(self) -> None:
        """Start the service without anything that dies."""
        self.calm = [self.stage.start("web")]
        self.calm += [self.stage.start("worker") for _ in range(self.stage.worker_slots)]

    def end_calm(self) -> None:
        """End it at once: the first deaths of the torture."""
        since = time.time()
        for pid in self.calm:
            if not processes.kill(pid):
                raise processes.NotDead(f"process {pid} had left before anything was done to it")
            self.record.add("killed", pid=pid, role="worker", point="at random", status=-9, since=since)
        self.calm = []

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request that must succeed (``platforms`` calls it)."""
        return Caller(self.stage.url, self.stage.token, self._never, seconds=120).once(method, path, body)

    def _configure(self) -> None:
        self._put("POST", "/v1/runtime/secrets", {"slot_id": "torture", "value": CANARY})
        self._put("POST", "/v1/routes", {
            "route_id": "torture", "driver": "openai", "base_url": self.urls["model"], "model": "fake",
            "default": True, "auth_ref": "torture",
            "options": {"read_timeout_seconds": 2, "total_timeout_seconds": 10},
        })  # fmt: skip
        self._put("PUT", "/v1/runtime/connectors/http/alerts", {
            "settings": {"ingress_events_per_second": 10_000},
            "secrets": {"bearer_token": {"value": EVENT_TOKEN}},
        })  # fmt: skip
        platforms.slack(self, "chat", self.urls["asked"])  # type: ignore[arg-type]
        platforms.sidecar(self, "mail", self.urls["sidecar"])  # type: ignore[arg-type]
        self._put("PUT", "/v1/runtime/connectors/telegram/bot", {
            "settings": {
                "ingress_mode": "polling", "api_base_url": self.urls["bot"], "polling_timeout_seconds": 5,
            },
            "secrets": {"bot_token": {"value": BOT_TOKEN}},
        })  # fmt: skip
        usual = SESSIONS[self.order.profile]
        count = usual if self.order.wanted else min(usual, FEW_SESSIONS)
        self.sessions = [f"torture-{number}" for number in range(count)]
        for number, name in enumerate(self.sessions):
            body: dict[str, Any] = {"session_id": name, "reply_targets": self._targets(number)}
            if number % 5 == 4:
                rule: dict[str, Any] = {"tool_name_pattern": "bash", "behavior": "ask"}
                rule["expires_after_seconds"] = EXPIRY_SECONDS
                body["permission_rules"] = [rule]
            if is_unasked(number):  # nobody is waited for: more is in flight when somebody dies
                body["permission_rules"] = [{"tool_name_pattern": "bash", "behavior": "allow"}]
            if number % 5 == 3:
                body["unknown_effects"] = "tell"
            self._put("POST", "/v1/sessions", body)
        names = {name: _WITNESSES[number % len(_WITNESSES)] for number, name in enumerate(self.sessions)}
        self.record.add("world", targets={**names, f"telegram:bot:{platforms.CHAT}": "bot"})
        self._schedule()

    def _targets(self, number: int) -> list[dict[str, Any]]:
        """Return where the answers of a session go."""
        http = {"url": self.urls["plain"], "allow_private_network": True}
        keyed = {"url": self.urls["keyed"], "allow_private_network": True, "idempotent": True}
        slack = {"connector": "chat", "channel_id": platforms.CHANNEL, "team_id": "T061EG9R6"}
        kinds: dict[str, list[dict[str, Any]]] = {
            "": [],
            "keyed": [{"plugin": "http", "address": keyed}],
            "plain": [{"plugin": "http", "address": http}],
            "sidecar": [{"plugin": "external", "address": {"connector": "mail", "route": "inbox"}}],
            "asked": [{"plugin": "slack", "address": slack}],
            "bot": [{"plugin": "telegram", "address": {"connector": "bot", "chat_id": platforms.CHAT}}],
        }
        return kinds[_WITNESSES[number % len(_WITNESSES)]]

    def _schedule(self) -> None:
        """Let sources be looked at every five seconds, so that schedules fire all the time."""
        for number in range(_SCHEDULES):
            name, session = f"notes-{number}", f"watch-{number}"
            self._put("POST", "/v1/sessions", {"session_id": session})
            source = {
                "source_id": name,
                "kind": "text_snapshot",
                "sensitive": False,
                "allow_materialization": True,
            }
            made = self._put("POST", "/v1/observation-sources", source)
            upload = Caller(self.stage.url, made["token"], self._never)
            status, said = self._upload(upload, name)
            if status >= 300:
                raise RuntimeError(f"an observation was refused: {status} {said}")
            made = self._put("POST", f"/v1/observation-sources/{name}/schedules", {
                "session_id": session, "prompt": f"torture s{number}watch plain", "interval_seconds": 5,
                "new_only": False,
            })  # fmt: skip
            self._fires.append(f"/v1/observation-sources/{name}/schedules/{made['schedule_id']}")

    def _upload(self, caller: Caller, name: str) -> tuple[int, Any]:
        content = b64encode(b"the screen is blue").decode()
        body = {"content_base64": content, "idempotency_key": f"first-{name}", "media_type": "text/plain"}
        return caller.once("POST", f"/v1/observation-sources/{name}/observations", body)

    def _put(self, method: str, path: str, body: Any) -> Any:
        status, said = self.ask(method, path, body)
        if status >= 300 or not status:
            raise RuntimeError(f"{method} {path}: {status} {said}")
        return said

    def end_schedules(self) -> None:
        """Let no schedule fire any more."""
        for path in self._fires:
            Caller(self.stage.url, self.stage.token, self._never).insist("DELETE", path)

    def effects(self) -> set[str]:
        """What an operator sees who looks at the target: the keys of everything that happened."""
        return {line["key"] for line in read(self.folder / "plain.jsonl") if line["what"] == "effect"}

    def end(self) -> None:
        """Leave nothing running."""
        for pid in self.calm:
            processes.end(pid)
        for oracle in self.oracles.values():
            oracle.end()
        self.stage.end()


@contextmanager
def _folder(keep: Callable[[], bool]) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kheish-torture-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if keep():
            say(f"everything is kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def prepared(profile: Profile) -> Iterator[Ground]:
    """Yield what any number of tortures, one after the other, can stand on."""
    folder = Path(tempfile.mkdtemp(prefix="kheish-ground-"))
    folder.chmod(0o711)
    try:
        ground = Ground(folder, profile)
        try:
            yield ground
        finally:
            ground.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def torture(order: Order, ground: Ground) -> Report:
    """Carry ``order`` out and return what was found. A red one keeps its folder, for whoever must mend it."""
    began = time.monotonic()
    report = Report(seed=order.seed, commit=commit(), profile=order.profile, command=order.command)
    judged = False
    with _folder(lambda: order.keep or not (order.bug or (judged and report.is_green))) as folder:
        world = World(order, folder, ground)
        try:
            world.build()
            _hurt_and_judge(world, order, report)
            judged = True
        finally:
            world.watch.end()
            world.end()
    report.seconds = time.monotonic() - began
    return report


def _hurt_and_judge(world: World, order: Order, report: Report) -> None:
    stage, folder = world.stage, world.folder
    load = Load(
        url=stage.url, token=stage.token, folder=folder, seed=order.seed, sessions=world.sessions,
        effects_port=world.effects_port, event_token=EVENT_TOKEN, effects=world.effects,
        races_a_cell=order.wanted.races_a_cell if order.wanted else 1, plans=order.plans,
    )  # fmt: skip
    torturer = Torturer(
        stage, order.seed, world.record, folder, lives=order.lives, faults=order.faults
    )  # fmt: skip
    bot = world.oracles["bot"]
    load.start(lambda number, text: bot.say(f"arrive {number} {text}"))
    world.end_calm()
    torturer.start()
    _wait(torturer, load, order)
    load.quiet.set()
    load.pausing.set()
    torturer.stop()
    for oracle in world.oracles.values():
        oracle.say("calm")
    world.record.add("calm")
    world.start_calm()
    stage.wait_ready()
    world.end_schedules()
    healing = Healing(load)
    healing.wait(quick=order.wanted is None)
    load.end()
    caller = Caller(stage.url, stage.token, world._never)
    evidence_of.collect(caller, folder)
    found = evidence_of.found_in(folder)
    found.settle_seconds, found.still_seconds = healing.seconds, healing.still_seconds
    found.unsettled = healing.unsettled
    url = stage.environment.get("KHEISH_DATABASE_URL", "")
    found.secrets_found = evidence_of.places_of(CANARY, folder, database_url=url)
    _fill(report, found, torturer, load, order)


def _wait(torturer: Torturer, load: Load, order: Order) -> None:
    """Until all that is wanted has happened, at every crash point, or the time is over."""
    began = said = time.monotonic()
    while (passed := time.monotonic() - began) < order.limit:
        missing = _missing(torturer, load, order.wanted or Wanted(runs=order.runs))
        if passed >= order.seconds and not missing:
            return
        if torturer.troubles or len(load.failures) > 20:
            return
        if time.monotonic() - said > 15:
            said = time.monotonic()
            counts = f"{torturer.total} killed, {load.runs} runs, {load.live} live"
            say(f"{passed:5.0f} s  {counts}; missing: {', '.join(missing) or '-'}")
        time.sleep(0.2)


def _missing(torturer: Torturer, load: Load, wanted: Wanted) -> list[str]:
    """Return in words what has not happened often enough yet."""
    counts = {
        "kills": wanted.kills - torturer.total,
        "runs": wanted.runs - load.runs,
        "cuts": wanted.cuts - load.cuts,
        **{f"{kind} races": load.missing_races(kind) * bool(wanted.races_a_cell) for kind in KINDS},
    }
    left = [f"{count} {name}" for name, count in counts.items() if count > 0]
    return left + [point for point in POINTS if wanted.kills and not torturer.kills[point]]


class Healing:
    """The time after the faults: what went on in it, how long nothing did, and what never came to its end."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self.seconds, self.still_seconds = 0.0, 0.0
        self.unsettled: list[str] = []

    def wait(self, *, quick: bool) -> None:
        """Wait until nothing moves that need not wait, while nobody decides.

        Unless ``quick``, people then decide what is left, and everything runs to its end. Either way nothing
        may move any more while it is looked at afterwards, not even because an approval expires.
        """
        began = time.monotonic()
        self._until_nothing_is_left(lambda: _moving(self._load))
        self.seconds = time.monotonic() - began
        if not quick and not self.unsettled:
            self._load.pausing.clear()
            self._until_nothing_is_left(
                lambda: _moving(self._load) + _undelivered(self._load) + _undecided(self._load)
            )
        self._until_nobody_writes()  # the looks come one after the other: what moved between them was missed

    def _until_nobody_writes(self) -> None:
        """Wait until no journal grew for longer than an approval lasts.

        The model may ask again when one has expired: that nothing moves now does not say that nothing will.
        """
        before: dict[str, int] = {}
        until = time.monotonic() + CALM_SECONDS
        while not self.unsettled and (now := _lengths(self._load)) != before and time.monotonic() < until:
            before = now
            time.sleep(EXPIRY_SECONDS + 1.0)
            self._until_nothing_is_left(lambda: _moving(self._load) + _undelivered(self._load, QUEUED))

    def _until_nothing_is_left(self, look: Callable[[], list[str]]) -> None:
        began = moved = time.monotonic()
        while (left := look()) and (now := time.monotonic()) - began < CALM_SECONDS:
            moved = now if left != self.unsettled else moved
            self.unsettled = left
            self.still_seconds = max(self.still_seconds, now - moved)
            if self.still_seconds > STILL_SECONDS:
                return
            time.sleep(0.4)
        self.unsettled = left


def _moving(load: Load) -> list[str]:
    """Return runs that are neither over nor waiting for people, themselves or behind their session's head."""
    found = [
        run
        for status in ("queued", "running")
        for run in load.caller.get(f"/v1/runs?status={status}&limit=100")["items"]
    ]
    blocked = _blocked(load)
    return [
        f"{run['run_id']} {run['status']} at {run['updated_at']}" for run in found
        if run["status"] == "running" or run["session_id"] not in blocked
    ]  # fmt: skip


def _lengths(load: Load) -> dict[str, int]:
    """Return the next number of each session's journal."""
    return {each["session_id"]: each["next_seq"] for each in load.caller.pages("/v1/sessions")}


def _blocked(load: Load) -> set[str]:
    """Return sessions whose head waits for people."""
    waits = ("waiting_for_approval", "waiting_for_user_question", "waiting_for_operator")
    pages = (load.caller.get(f"/v1/runs?status={status}&limit=100") for status in waits)
    return {run["session_id"] for page in pages for run in page["items"]}


def _undelivered(load: Load, statuses: Sequence[str] = (*QUEUED, "unknown")) -> list[str]:
    return [
        f"{each['delivery_id']} {status}"
        for status in statuses
        for each in load.caller.get(f"/v1/deliveries?status={status}&limit=100")["items"]
    ]


def _undecided(load: Load) -> list[str]:
    """Return what waits for people and was not left alone on purpose."""
    left = {line["item"] for line in read(load.decisions_path) if line["what"] == "left_alone"}
    nouns = (("approvals", "approval_id"), ("questions", "question_id"), ("decisions", "decision_id"))
    return [
        item[key]
        for name, key in nouns
        for item in load.caller.get(f"/v1/{name}?status=pending&limit=100")["items"]
        if item[key] not in left
    ]


def _fill(report: Report, found: Evidence, torturer: Torturer, load: Load, order: Order) -> None:
    report.kills = {point: torturer.kills[point] for point in POINTS} | dict(torturer.kills)
    report.faults = dict(torturer.faults) | {
        "answer after a commit lost": sum(
            line["what"] == "fault" and line.get("kind") == "answer_lost" for line in found.faults
        )
        - torturer.faults["answer_lost"],
        "workers starved of processors": len(
            {line["pid"] for line in found.faults if line["what"] == "starved"}
        ),
    }
    report.provider_faults = dict(Counter(_faults_of(found, "model")))
    report.target_faults = dict(
        Counter(
            f"{name}: {fault}"
            for name in ("keyed", "plain", "asked", "bot", "sidecar")
            for fault in _faults_of(found, name)
        )
    )
    report.runs = dict(Counter(run["status"] for run in found.runs))
    report.cells = {f"{kind} x{k} {mode}": load.cells[kind, k, mode] for kind, k, mode in CELLS}
    report.counts = {
        "runs": len(found.runs), "runs among faults": load.runs,
        "journal entries": sum(map(len, found.journals.values())),
        "stream cuts": load.cuts, "stream events": sum(map(len, found.streams)),
        "deliveries": len(found.deliveries), "tool calls": len(found.calls),
        "unknown effects": sum(len(call.of("tool.unknown")) for call in found.calls),
        "seconds until all was settled": round(found.settle_seconds, 1),
    }  # fmt: skip
    report.judgements = judge_all(found)
    unforeseen = [said for words in _UNFORESEEN for said in found.logged(words)]
    report.failures = [*torturer.troubles, *load.failures[:10], *unforeseen[:3]]
    report.wanted = order.wanted


def _faults_of(found: Evidence, name: str) -> list[str]:
    return [line["fault"] for line in found.oracles[name] if line.get("fault")]


def say(words: str) -> None:
    """Tell whoever watches."""
    print(words, file=sys.stderr, flush=True)

"""What the judgement is made of: the witnesses' files, the clients' transcripts, what the API says."""

import json
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import psycopg
from ulid import ULID

from tests.torture.load import Caller
from tests.torture.record import read

ORACLES: Final = ("model", "keyed", "plain", "asked", "bot", "sidecar")
_KEY: Final = re.compile(r'"effect": "([^"]+)"')
_VALUE: Final = re.compile(r'"value": "([^"]+)"')
_LOGGED: Final = re.compile(r"^(?=\d{4}-\d\d-\d\dT)", re.MULTILINE)
_TOKEN: Final = re.compile(r"\b[reus][0-9a-z]+(?:-[0-9]+)?\b")
Entry = dict[str, Any]


@dataclass
class Evidence:
    """What is judged. ``journals`` are all entries by session, ``oracles`` the witnesses' lines by name."""

    folder: Path
    runs: list[dict[str, Any]]
    journals: dict[str, list[Entry]]
    verdicts: dict[str, dict[str, Any]]
    deliveries: list[dict[str, Any]]
    workspaces: dict[str, Path]
    oracles: dict[str, list[dict[str, Any]]]
    inputs: list[dict[str, Any]]
    decisions: list[dict[str, Any]]
    events: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    streams: list[list[dict[str, Any]]]
    secrets_found: list[str] = field(default_factory=list)
    settle_seconds: float = 0.0
    still_seconds: float = 0.0
    """The longest time in which nothing went on, of what was not over and waited for nobody."""
    unsettled: list[str] = field(default_factory=list)

    @cached_property
    def by_run(self) -> dict[str, list[Entry]]:
        """Entries of each run, in order."""
        found: dict[str, list[Entry]] = defaultdict(list)
        for entries in self.journals.values():
            for entry in entries:
                if entry["run_id"]:
                    found[entry["run_id"]].append(entry)
        return found

    def skew_of(self, worker: str) -> float:
        """How wrong the clock of the worker of this name was."""
        starts = self._starts[pid_in(worker)]
        born = ULID.from_str(worker.rpartition("_")[2]).timestamp
        return float(min(starts, key=lambda line: abs(line["at"] - born))["skew"]) if starts else 0.0

    @cached_property
    def _starts(self) -> dict[int, list[dict[str, Any]]]:
        """Every start of a process by its id; in an hour an id comes again."""
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for line in self.faults:
            if line["what"] == "start":
                found[line["pid"]].append(line)
        return found

    @cached_property
    def targets(self) -> dict[str, str]:
        """Which witness the answers of a session go to; "" for nobody."""
        (world,) = (line for line in self.faults if line["what"] == "world")
        return dict(world["targets"])

    @cached_property
    def calls(self) -> "list[ToolCall]":
        """Every tool call with its entries."""
        return [call for run_id, entries in self.by_run.items() for call in _calls(run_id, entries)]

    @cached_property
    def effects(self) -> dict[str, list[dict[str, Any]]]:
        """What shell commands did to the outside, by the key they did it under."""
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for line in self.oracles["plain"]:
            if line["what"] == "effect":
                found[line["key"]].append(line)
        return found

    def logged(self, words: str) -> list[str]:
        """What the service logged as an error with ``words`` in it, each with its traceback."""
        log = self.folder / "service.log"
        found = _LOGGED.split(log.read_text(errors="replace")) if log.exists() else []
        return [each.strip() for each in found if words in each and "[error " in each.partition("\n")[0]]

    def troubles(self, begin: float, end: float, pid: int = 0) -> bool:
        """Tell whether something was done to process ``pid`` (0: any), or to the database, between these."""
        kinds = {"killed", "frozen", "thawed", "terminated", "ended", "starved"}
        for line in self.faults:
            since = line.get("since", line["at"] - line.get("lasted", 0.0))
            if begin - 1.0 <= line["at"] and since <= end + 1.0:
                if line["what"] in kinds and line.get("role") == "worker" and pid in (0, line["pid"]):
                    return True
                if line["what"] in ("fault", "fault_over"):
                    return True
        return False


@dataclass(frozen=True)
class ToolCall:
    """One planned call, and what the journal says of it."""

    run_id: str
    name: str
    planned: Entry
    entries: list[Entry]
    drivers: list[tuple[int, str]]
    """(seq, name) of each worker that took the run."""

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    @property
    def call_id(self) -> str:
        return str(self.planned["payload"]["call_id"])

    @property
    def asks(self) -> bool:
        return bool(self.planned["payload"]["permission"].get("decision") == "ask")

    @property
    def key(self) -> str:
        """The key of what its command does outside; "" for other tools."""
        found = _KEY.search(str(self.planned["payload"]["input"].get("command", "")))
        return found[1] if found else ""

    @property
    def settled(self) -> Entry | None:
        found = [e for e in self.entries if e["kind"] in ("tool.returned", "tool.denied", "tool.reconciled")]
        return found[-1] if found else None

    @property
    def versions(self) -> list[dict[str, Any]]:
        """The arguments as planned, and as each edit left them."""
        return [self.planned["payload"]["input"], *(e["payload"]["to"] for e in self.of("approval.edited"))]

    @property
    def repeats_allowed(self) -> int:
        """How often an operator said that it did not happen."""
        return sum(e["payload"]["outcome"] == "not_happened" for e in self.of("decision.made"))

    def driver_before(self, seq: int) -> str:
        """Return the name of the worker that had the run at ``seq``."""
        return next(name for at, name in reversed(self.drivers) if at < seq)


def _calls(run_id: str, entries: list[Entry]) -> Iterator[ToolCall]:
    taken = [e for e in entries if e["kind"] in ("run.started", "run.recovered")]
    drivers = [(e["seq"], str(e["payload"]["worker"])) for e in taken]
    for planned in (e for e in entries if e["kind"] == "tool.planned"):
        call_id = planned["payload"]["call_id"]
        asked = {
            e["payload"]["approval_id"]
            for e in entries
            if e["kind"] == "approval.requested" and e["payload"]["call_id"] == call_id
        }
        mine = [
            e for e in entries
            if e["payload"].get("call_id") == call_id or e["payload"].get("approval_id") in asked
        ]  # fmt: skip
        yield ToolCall(run_id, planned["payload"]["tool_name"], planned, mine, drivers)


def pid_in(worker: str) -> int:
    """Return the process id in the name of a worker, ``host:pid:w_ULID``."""
    return int(worker.split(":")[1])


def moment(entry: Entry) -> float:
    """When an entry says it was written, in seconds since the epoch, by its writer's clock."""
    return datetime.fromisoformat(entry["at"]).timestamp()


def value_in(arguments: dict[str, Any]) -> str:
    """Return what a shell command's arguments would do outside."""
    found = _VALUE.search(str(arguments.get("command", "")))
    return found[1] if found else ""


def token_in(text: str) -> str:
    """Return the token of the input that an output or message answers, or ""."""
    found = [word for word in _TOKEN.findall(text) if len(word) > 3]
    return found[0] if found else ""


def collect(caller: Caller, folder: Path) -> None:
    """Ask the API for everything, and keep it beside the files of the witnesses."""
    sessions = caller.pages("/v1/sessions")
    names = [session["session_id"] for session in sessions]
    listed = caller.pages("/v1/deliveries")[::-1]
    answers = {
        "runs": caller.pages("/v1/runs")[::-1],
        "journals": {name: caller.pages(f"/v1/sessions/{name}/events") for name in names},
        "verdicts": {name: caller.get(f"/v1/sessions/{name}/verify") for name in names},
        "deliveries": [caller.get(f"/v1/deliveries/{each['delivery_id']}") for each in listed],
        "workspaces": {s["session_id"]: s["workspace"] for s in sessions if s.get("workspace")},
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def found_in(folder: Path) -> Evidence:
    """Read everything that a torture left in its folder."""
    answers = json.loads((folder / "answers.json").read_text())
    return Evidence(
        folder=folder,
        runs=answers["runs"],
        journals=answers["journals"],
        verdicts=answers["verdicts"],
        deliveries=answers["deliveries"],
        workspaces={name: Path(path) for name, path in answers["workspaces"].items()},
        oracles={name: read(folder / f"{name}.jsonl") for name in ORACLES},
        inputs=read(folder / "inputs.jsonl"),
        decisions=read(folder / "decisions.jsonl"),
        events=read(folder / "events.jsonl"),
        faults=read(folder / "faults.jsonl"),
        streams=[read(path) for path in sorted(folder.glob("stream-*.jsonl"))],
    )


def places_of(secret: str, folder: Path, *, database_url: str) -> list[str]:
    """Return where ``secret`` can be read: files of logs, answers, streams, and all rows of all tables."""
    files = [*folder.glob("*.jsonl"), *folder.glob("*.json"), *folder.glob("*.log")]
    found = [path.name for path in files if secret in path.read_text(errors="replace")]
    if not database_url:
        with sqlite3.connect(folder / "state" / "kheish.sqlite3") as database:
            return found + [line[:80] for line in database.iterdump() if secret in line]
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (table,) in tables:
            query = f'SELECT count(*) FROM "{table}" AS t WHERE t::text LIKE %s'
            hits = connection.execute(query, [f"%{secret}%"]).fetchone()  # type: ignore[arg-type]
            if hits and hits[0]:
                found.append(f"table {table}: {hits[0]} rows")
    return found

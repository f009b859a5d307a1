"""What must hold whatever died: each invariant is a function, its docstring says where it is promised.

Judged on what witnesses wrote down and what the API answers, never on our tables alone.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from kheish_site.lib.canonical import canonical_json, digest, sha256_hex
from tests.torture.evidence import Evidence, ToolCall, moment, pid_in, token_in, value_in
from tests.torture.oracles import DOUBTFUL

TERMINAL: Final = frozenset({"completed", "failed", "cancelled", "interrupted"})
STILL_SECONDS: Final = 60.0
_MOVED: Final = "to"


@dataclass
class Judgement:
    """One invariant: how often it was looked at, and each time it did not hold."""

    name: str
    promise: str
    checked: int = 0
    violations: list[str] = field(default_factory=list)

    def check(self, holds: bool, otherwise: str) -> None:
        """Count one look."""
        self.checked += 1
        if not holds:
            self.violations.append(otherwise)


Invariant = Callable[[Evidence, Judgement], None]
INVARIANTS: list[Invariant] = []


def invariant(judge: Invariant) -> Invariant:
    """Put ``judge`` among those that every torture ends with."""
    INVARIANTS.append(judge)
    return judge


def judge_all(evidence: Evidence) -> list[Judgement]:
    """Judge everything."""
    found = []
    for each in INVARIANTS:
        judgement = Judgement(each.__name__, (each.__doc__ or "").splitlines()[0])
        each(evidence, judgement)
        found.append(judgement)
    return found


def _moves(entries: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Yield (entry, from, to) of every entry that moves a run."""
    for entry in entries:
        payload = entry["payload"]
        if entry["kind"].startswith("run.") and _MOVED in payload and entry["kind"] != "run.stop_requested":
            yield entry, str(payload.get("from", "")), str(payload[_MOVED])


def _is_waiting(status: str) -> bool:
    return status.startswith("waiting_for_")


@invariant
def accepted_inputs_are_runs(evidence: Evidence, judgement: Judgement) -> None:
    """An answered 202 is durable, and one key is one run (guarantees, "submitting a run").

    Also where no answer came: of one input there is at most one run.
    """
    runs = {run["run_id"]: run for run in evidence.runs}
    answers: dict[str, set[str]] = defaultdict(set)
    for line in evidence.inputs:
        if line["what"] == "answered":
            judgement.check(line["status"] == 202, f"{line['token']} was answered {line['status']}")
            answers[line["token"]].add(line["run_id"])
    for token, ids in answers.items():
        judgement.check(len(ids) == 1 and ids <= runs.keys(), f"{token} was answered with runs {ids}")
    for token, count in _inputs_of(evidence).items():
        judgement.check(count == 1, f"{count} runs of the input {token}")


def _inputs_of(evidence: Evidence) -> Counter[str]:
    said = (run["input_items"][0].get("text", "") for run in evidence.runs if run["input_items"])
    words = [text.split()[1] for text in said if text.startswith("torture ")]
    return Counter(word for word in words if not word.startswith("s"))


@invariant
def every_run_ends_or_waits(evidence: Evidence, judgement: Judgement) -> None:
    """Every accepted input ends in a final state or waits for people (guarantees, "submitting a run")."""
    waiting = {run["session_id"] for run in evidence.runs if _is_waiting(run["status"])}
    for run in evidence.runs:
        status = run["status"]
        behind = status == "queued" and run["session_id"] in waiting
        ends = status in TERMINAL or _is_waiting(status) or behind
        judgement.check(ends, f"{run['run_id']} is {status}")
    allowed = {
        "invalid_request",
        "operator_gave_up",
        "recovery_limit",
        "overloaded",
        "transport",
        "rate_limited",
    }
    for run in evidence.runs:
        if run["status"] == "failed":
            code = (run.get("error") or {}).get("code")
            known = code in allowed
            why = [] if known else evidence.logged(run["run_id"])
            judgement.check(known, "\n".join([f"{run['run_id']} failed with {run.get('error')}", *why]))


@invariant
def one_active_run_per_session(evidence: Evidence, judgement: Judgement) -> None:
    """One active run per session, waiting too; others start in order (guarantees, "order in a session")."""
    for session, entries in evidence.journals.items():
        statuses: dict[str, str] = {}
        accepted: list[str] = []
        last = -1
        for entry, _, to in _moves(entries):
            run_id = entry["run_id"]
            if run_id not in statuses:
                accepted.append(run_id)
            first = to == "running" and not any(
                e["seq"] < entry["seq"] and e["kind"] == "run.started" for e in evidence.by_run[run_id]
            )
            statuses[run_id] = to
            active = [r for r, s in statuses.items() if s == "running" or _is_waiting(s)]
            judgement.check(len(active) <= 1, f"{session} at {entry['seq']}: {active} are active at once")
            if first:
                place = accepted.index(run_id)
                judgement.check(place > last, f"{session}: {run_id} started out of order")
                last = max(place, last)


@invariant
def journals_are_dense_and_chained(evidence: Evidence, judgement: Judgement) -> None:
    """The journal is dense from 1 and chained; anybody can check it (guarantees, "journal")."""
    for session, entries in evidence.journals.items():
        head = "0" * 64
        for number, entry in enumerate(entries, start=1):
            hashed = sha256_hex(f"{head}:{number}:{_digest(entry)}")
            whole = entry["seq"] == number and entry["prev_hash"] == head and entry["hash"] == hashed
            judgement.check(whole, f"{session} at {number}: entry {entry['seq']} does not follow")
            head = entry["hash"]
        verdict = evidence.verdicts[session]
        same = verdict["valid"] and verdict["entries"] == len(entries)
        judgement.check(same, f"{session}: the service's own verdict is {verdict}")


def _digest(entry: dict[str, Any]) -> str:
    members = ("session_id", "run_id", "kind", "version", "at", "payload")
    return sha256_hex(canonical_json({name: entry[name] for name in members}))


@invariant
def the_fold_equals_the_rows(evidence: Evidence, judgement: Judgement) -> None:
    """Folding a run's entries gives what its row says, move after move (guarantees, "journal")."""
    for run in evidence.runs:
        status = ""
        for entry, was, to in _moves(evidence.by_run[run["run_id"]]):
            follows = entry["kind"] == "run.accepted" or was == status or not was
            judgement.check(follows, f"{run['run_id']} at {entry['seq']}: from {was}, and it was {status}")
            status = to
        judgement.check(status == run["status"], f"{run['run_id']} is {run['status']}, folded {status}")


@invariant
def nobody_writes_after_losing_the_lease(evidence: Evidence, judgement: Judgement) -> None:
    """No row of a stale epoch: one answer a step, one outcome a call, none after the end.

    See guarantees, "frozen worker".
    """
    for run_id, entries in evidence.by_run.items():
        steps = Counter(
            e["payload"]["step"] for e in entries
            if e["kind"] == "message.created" and e["payload"].get("role") == "assistant"
        )  # fmt: skip
        judgement.check(all(count == 1 for count in steps.values()), f"{run_id}: answers by step {steps}")
        ends = [e["seq"] for e, _, to in _moves(entries) if to in TERMINAL]
        judgement.check(len(ends) <= 1, f"{run_id} ended {len(ends)} times")
        late = [e["kind"] for e in entries if ends and e["seq"] > ends[0] and not _is_about_delivery(e)]
        judgement.check(not late, f"{run_id}: {late} after its end")
    for call in evidence.calls:
        settled = [
            e for e in call.entries if e["kind"] in ("tool.returned", "tool.denied", "tool.reconciled")
        ]
        judgement.check(len(settled) <= 1, f"{call.call_id} was settled {len(settled)} times")
        attempts = [e["payload"]["attempt"] for e in call.of("tool.started")]
        dense = attempts == list(range(1, len(attempts) + 1))
        judgement.check(dense, f"{call.call_id} was started as attempts {attempts}")


def _is_about_delivery(entry: dict[str, Any]) -> bool:
    return str(entry["kind"]).startswith(("delivery.", "run.stop_requested", "task."))


@invariant
def opaque_effects_happen_at_most_once(evidence: Evidence, judgement: Judgement) -> None:
    """An opaque effect is never repeated without a person's word (guarantees, "`opaque` effect")."""
    for call in (call for call in evidence.calls if call.key):
        count, starts = len(evidence.effects[call.key]), len(call.of("tool.started"))
        most = 1 + call.repeats_allowed
        judgement.check(count <= most, f"{call.key} happened {count} times, at most {most} were allowed")
        judgement.check(starts <= most, f"{call.key} was started {starts} times, at most {most} were allowed")
        judgement.check(count <= starts, f"{call.key} happened {count} times and was started {starts} times")
        if call.settled and call.settled["payload"].get("state") == "succeeded":
            judgement.check(count >= 1, f"{call.key} succeeded and never happened")


@invariant
def other_effects_happen_as_promised(evidence: Evidence, judgement: Judgement) -> None:
    """One that succeeded is there; an idempotent one shows once (guarantees, "`probeable` effect")."""
    sessions = {run["run_id"]: run["session_id"] for run in evidence.runs}
    outputs = {run["run_id"]: Counter(o["content"] for o in run.get("outputs", [])) for run in evidence.runs}
    for call in evidence.calls:
        given, settled = call.planned["payload"]["input"], call.settled
        done = settled is not None and settled["payload"].get("state") == "succeeded"
        if call.name == "write_file":
            file = evidence.workspaces[sessions[call.run_id]] / given["path"]
            there = file.exists() and file.read_text() == given["content"]
            if done:
                judgement.check(there, f"{call.call_id} succeeded and {given['path']} is not there")
            elif not call.of("tool.started"):
                judgement.check(not file.exists(), f"{given['path']} is there and was never started")
        elif call.name == "emit_output" and call.run_id in outputs:
            said = outputs[call.run_id][given["content"]]
            judgement.check(said == int(done), f"{call.run_id} said {given['content']} {said} times")


@invariant
def every_unknown_has_a_cause(evidence: Evidence, judgement: Judgement) -> None:
    """Unknown is only what a death made so, of the worker meanwhile (guarantees, "`opaque` effect")."""
    for call in evidence.calls:
        for unknown in call.of("tool.unknown"):
            started = [e for e in call.of("tool.started") if e["seq"] < unknown["seq"]]
            judgement.check(bool(started), f"{call.call_id} is unknown and never started")
            if not started:
                continue
            was, now = call.driver_before(started[-1]["seq"]), call.driver_before(unknown["seq"])
            begin = moment(started[-1]) - evidence.skew_of(was)
            end = moment(unknown) - evidence.skew_of(now)
            caused = evidence.troubles(begin, end, pid_in(was))
            judgement.check(caused, f"{call.call_id} is unknown and nothing happened to worker {was}")


@invariant
def only_the_approved_call_runs(evidence: Evidence, judgement: Judgement) -> None:
    """Executed = approved digest; nothing before a yes, after denial or expiry (guarantees, "approval")."""
    asked_at: dict[str, float] = {}
    for line in evidence.decisions:
        if (
            line["what"] == "deciding"
            and line["kind"] == "approval"
            and line["choice"]["behavior"] == "allow"
        ):
            asked_at[line["item"]] = min(line["at"], asked_at.get(line["item"], line["at"]))
    for call in (call for call in evidence.calls if call.asks):
        allowed = call.of("approval.allowed")
        for started in call.of("tool.started"):
            before = [e for e in allowed if e["seq"] < started["seq"]]
            judgement.check(bool(before), f"{call.call_id} started at {started['seq']} without approval")
        stopped = call.of("approval.denied") + call.of("approval.expired")
        judgement.check(
            not (stopped and call.of("tool.started")), f"{call.call_id} was denied or expired, and started"
        )
        if call.key:
            _check_effects(evidence, judgement, call, allowed, asked_at)


def _check_effects(
    evidence: Evidence,
    judgement: Judgement,
    call: ToolCall,
    allowed: list[dict[str, Any]],
    asked_at: dict[str, float],
) -> None:
    approved = {e["payload"]["digest"] for e in allowed}
    values = {value_in(a) for a in call.versions if digest({"tool": "bash", "arguments": a}) in approved}
    for effect in evidence.effects[call.key]:
        right = effect["value"] in values
        judgement.check(right, f"{call.key} did {effect['value']}; approved were {values or 'nothing'}")
        ids = [e["payload"]["approval_id"] for e in allowed]
        early = min((asked_at.get(each, 0.0) for each in ids), default=float("inf"))
        judgement.check(effect["at"] >= early, f"{call.key} happened before anybody said yes")


@invariant
def decided_once_by_whoever_was_first(evidence: Evidence, judgement: Judgement) -> None:
    """k people racing settle it once; the same decision is 200, another is 409 (guarantees, "deciding")."""
    settles = {
        "approval": ("approval.allowed", "approval.denied", "approval.expired", "approval.cancelled"),
        "question": ("question.answered", "question.declined", "question.expired", "question.cancelled"),
        "decision": ("decision.made", "decision.cancelled"),
    }
    told: Counter[tuple[str, str]] = Counter()
    resumed: Counter[str] = Counter()
    for entries in evidence.journals.values():
        for entry in entries:
            for kind, kinds in settles.items():
                if entry["kind"] in kinds:
                    told[kind, entry["payload"][f"{kind}_id"]] += 1
            resumed[entry["run_id"] or ""] += entry["kind"] == "run.resumed"
    for (kind, item), count in told.items():
        judgement.check(count == 1, f"{kind} {item} was settled {count} times")
    won: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in evidence.decisions:
        if line["what"] == "decided" and line["kind"] != "cancel":
            judgement.check(
                line["status"] in (200, 409),
                f"{line['kind']} {line['item']}: {line['status']} {line['said']}",
            )
            if line["status"] == 200:
                won[line["kind"], line["item"]].add(_sense(line["choice"]))
    for (kind, item), choices in won.items():
        judgement.check(len(choices) == 1, f"{kind} {item}: {choices} were all told that they won")
    for run_id, count in resumed.items():
        waits = sum(
            _is_waiting(to) and not _is_waiting(was) for _, was, to in _moves(evidence.by_run.get(run_id, []))
        )
        judgement.check(
            not run_id or count <= waits, f"{run_id} waited {waits} times and was resumed {count} times"
        )


def _sense(choice: dict[str, Any]) -> str:
    """Return what a choice means, whoever made it in which words."""
    if "behavior" in choice:
        return str(choice["behavior"])
    return str(choice.get("outcome") or ("declined" if choice.get("declined") else "answered"))


@invariant
def streams_equal_the_journal(evidence: Evidence, judgement: Judgement) -> None:
    """Every entry once and in order, over any cuts, restarts and processes (guarantees, "stream")."""
    hashes = {(s, e["seq"]): e["hash"] for s, entries in evidence.journals.items() for e in entries}
    for lines in evidence.streams:
        places: dict[str, int] = defaultdict(int)
        for line in lines:
            session, seq = line["session"], line["id"]
            follows = seq == places[session] + 1
            judgement.check(follows, f"{session}: {seq} came after {places[session]}")
            judgement.check(
                hashes.get((session, seq)) == line["hash"], f"{session} at {seq}: not the journal's"
            )
            places[session] = seq


@invariant
def one_run_per_event(evidence: Evidence, judgement: Judgement) -> None:
    """One run per inbound event however often it came, webhook or polled (guarantees, "an event")."""
    texts = _inputs_of(evidence)
    ids: dict[str, set[str]] = defaultdict(set)
    for line in evidence.events:
        if line["what"] == "answered":
            judgement.check(line["status"] == 200, f"event {line['token']} was answered {line['status']}")
            ids[line["token"]].add(line["run_id"])
    for token, found in ids.items():
        judgement.check(
            len(found) == 1 and texts[token] == 1, f"event {token}: runs {found}, {texts[token]} of its text"
        )
    for line in evidence.oracles["bot"]:
        if line["what"] == "update":
            token = line["text"].split()[1]
            judgement.check(texts[token] == 1, f"update {token} is {texts[token]} runs")


@invariant
def schedules_fire_once(evidence: Evidence, judgement: Judgement) -> None:
    """One run per schedule and moment (guarantees, "a schedule's fire")."""
    fires = Counter(
        (run["metadata"]["schedule_id"], run["metadata"]["scheduled_for"])
        for run in evidence.runs
        if "scheduled_for" in run.get("metadata", {})
    )
    for fire, count in fires.items():
        judgement.check(count == 1, f"{fire} made {count} runs")


@invariant
def answers_are_queued_once(evidence: Evidence, judgement: Judgement) -> None:
    """An output is a delivery exactly if it was committed, once per target (guarantees, "an answer")."""
    queued = Counter(
        (d.get("run_id"), d.get("content"))
        for d in evidence.deliveries
        if not d.get("replayed_from_delivery_id") and d["kind"] == "output"
    )
    for run in evidence.runs:
        if evidence.targets.get(run["session_id"]):
            for content, count in Counter(o["content"] for o in run.get("outputs", [])).items():
                found = queued[run["run_id"], content]
                judgement.check(found == count, f"{run['run_id']}: {found} deliveries of {count} outputs")


@invariant
def no_message_shows_twice(evidence: Evidence, judgement: Judgement) -> None:
    """One visible message a delivery key; elsewhere a repeat takes a person (guarantees, "delivery")."""
    for name in ("keyed", "sidecar"):
        keys: dict[str, set[str]] = defaultdict(set)
        for line in _messages(evidence, name):
            keys[line.get("content") or line.get("text", "")].add(line["key"])
        for content, found in keys.items():
            if not token_in(content).startswith("s"):
                judgement.check(len(found) == 1, f"{name}: {content!r} came under {len(found)} keys")
    for name in ("plain", "asked", "bot"):
        texts = Counter(line.get("content") or line.get("text", "") for line in _messages(evidence, name))
        for content, count in texts.items():
            if content.startswith(("done ", "r")) and not token_in(content).startswith("s"):
                judgement.check(count == 1, f"{name}: {content!r} shows {count} times")


def _messages(evidence: Evidence, name: str) -> list[dict[str, Any]]:
    return [line for line in evidence.oracles[name] if line["what"] in ("taken", "message")]


def _doubtful_at_plain(evidence: Evidence) -> set[str]:
    """Return the deliveries of which ``plain`` left their sender in doubt."""
    return {
        line["delivery_id"] for line in evidence.oracles["plain"]
        if line["what"] == "arrival" and line["fault"] in DOUBTFUL
    }  # fmt: skip


def _told_unknown(evidence: Evidence) -> set[str]:
    """Return the deliveries that the journal has called unknown."""
    every = (entry for entries in evidence.journals.values() for entry in entries)
    return {e["payload"]["delivery_id"] for e in every if e["kind"] == "delivery.unknown"}


@invariant
def what_is_delivered_arrived(evidence: Evidence, judgement: Judgement) -> None:
    """``delivered`` is said of what the target has, each doubt is ``unknown`` (guarantees, "delivery")."""
    taken = {
        name: {line["key"].removeprefix("kheish:") for line in _messages(evidence, name)}
        for name in ("keyed", "plain", "sidecar")
    }
    told = _told_unknown(evidence)
    for doubt in _doubtful_at_plain(evidence):
        judgement.check(doubt in told, f"{doubt} was doubtful at its target, and nobody was told")
    for delivery in evidence.deliveries:
        place = evidence.targets.get(delivery["session_id"], "")
        if place in taken and delivery["status"] == "delivered" and not delivery.get("decision"):
            arrived = delivery["delivery_id"] in taken[place]
            judgement.check(arrived, f"{delivery['delivery_id']} is delivered, and {place} never took it")


@invariant
def targets_get_their_order(evidence: Evidence, judgement: Judgement) -> None:
    """Per target, in the order of their commits (guarantees, "order of answers").

    What is in doubt has left the queue: a request that its sender gave up may still come late.
    """
    doubted = _told_unknown(evidence)
    places = {d["delivery_id"]: number for number, d in enumerate(evidence.deliveries)}
    for name in ("keyed", "plain"):
        came = [line["delivery_id"] for line in evidence.oracles[name] if line["what"] == "arrival"]
        last = -1
        for delivery_id in (each for each in dict.fromkeys(came) if each not in doubted):
            place = places.get(delivery_id, -1)
            judgement.check(place > last, f"{name}: {delivery_id} came out of its order")
            last = max(last, place)


@invariant
def doubt_about_deliveries_has_a_cause(evidence: Evidence, judgement: Judgement) -> None:
    """A delivery is unknown because of its target or of a death, never by itself (guarantees, "delivery")."""
    doubts = _doubtful_at_plain(evidence)
    for session, entries in evidence.journals.items():
        place = evidence.targets.get(session, "")
        faults = [line["at"] for line in evidence.oracles.get(place, ()) if line["what"] == "fault"]
        for entry in entries:
            if entry["kind"] == "delivery.unknown" and entry["payload"]["delivery_id"] not in doubts:
                at = moment(entry)
                caused = evidence.troubles(at - 30, at + 25) or any(each <= at + 25 for each in faults)
                judgement.check(caused, f"{entry['payload']['delivery_id']} is unknown for no reason")


@invariant
def all_settles_when_the_faults_are_over(evidence: Evidence, judgement: Judgement) -> None:
    """Faults off, what waits for nobody moves within 60 s, and all ends (guarantees, "worker crash")."""
    still = evidence.still_seconds
    judgement.check(still <= STILL_SECONDS, f"nothing went on for {still:.1f} s: {evidence.unsettled[:5]}")
    left = evidence.unsettled
    judgement.check(not left, f"{len(left)} left after {evidence.settle_seconds:.1f} s: {left[:5]}")


@invariant
def no_secret_anywhere(evidence: Evidence, judgement: Judgement) -> None:
    """A slot's value is in no journal, stream, log, answer or row (guarantees, "secrets")."""
    told = sum(line.get("fault") == "told_the_key" for line in evidence.oracles["model"])
    judgement.checked += told
    judgement.check(not evidence.secrets_found, f"the secret is in {evidence.secrets_found[:5]}")

"""``python -m tests.torture.oracles NAME FILE SEED PORT``: a witness outside the system, in a process.

``model`` is an OpenAI-compatible server, ``keyed`` an HTTP target that honours idempotency keys, ``plain``
one that does not (and where shell commands act), ``asked`` one that can be asked what it has (a chat with a
history), ``bot`` a chat that is polled and knows no keys, ``sidecar`` a program between us and mail. Each
misbehaves by the seed, and writes down what it did before it does it. Standard input says ``calm`` when the
faults are over.
"""

import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tests.support import fault_server, platforms, slack_server
from tests.support.fault_server import Exchange, FaultServer
from tests.support.http_target import Arrival, HttpTarget
from tests.support.sidecar import fake_sidecar
from tests.support.slack_server import SlackServer
from tests.support.target_faults import broken, gateway, limited, nonsense, reset, took_and_reset
from tests.support.telegram_server import Fault as BotFault
from tests.support.telegram_server import TelegramServer
from tests.torture.record import Record

TOKEN: Final = re.compile(r"torture (\S+) (\w+)")
SLIP: Final = "(slip)"
MOST_PENDING: Final = 3
MODEL_FAULTS: Final = (
    "truncated", "malformed_call", "unknown_tool", "hang", "refusal", "limited", "broken", "told_the_key",
)  # fmt: skip
DOUBTFUL: Final = frozenset({"silent", "late", "took_and_reset", "reset", "gateway"})
"""After these nobody who sent can know whether it was taken."""
Call = tuple[str, dict[str, Any]]


class Calm:
    """Whether the faults are over."""

    def __init__(self) -> None:
        self.is_calm = False

    def strikes(self, chance: random.Random, share: float) -> bool:
        """Tell whether to misbehave now."""
        return not self.is_calm and chance.random() < share


def effect_command(port: int, key: str, value: str) -> str:
    """Return a shell command that does something elsewhere, of which nobody can ask: ``value`` by ``key``."""
    body = json.dumps({"effect": key, "value": value})
    head = f"POST /effect HTTP/1.0\\r\\nContent-Length: {len(body)}\\r\\nIdempotency-Key: {key}\\r\\n\\r\\n"
    return f"exec 3<>/dev/tcp/127.0.0.1/{port}; printf '%b' '{head}' >&3; printf '%s' '{body}' >&3; cat <&3"


def turns(token: str, plan: str, effects_port: int) -> list[list[Call]]:
    """Return the tool calls of each answer of a plan; after the last one the model says that it is done."""

    def act(number: int) -> Call:
        return "bash", {"command": effect_command(effects_port, f"{token}.{number}", "as-planned")}

    ask: Call = (
        "ask_user_question",
        {"questions": [{"question": f"{token}?", "options": [{"label": "Yes"}, {"label": "No"}]}]},
    )
    write: Call = ("write_file", {"path": f"{token}.txt", "content": f"{token}\n"})
    look: Call = ("list_files", {"base": "."})
    say: Call = ("emit_output", {"content": f"{token} said"})
    todo: Call = ("todo_write", {"todos": [{"id": "one", "content": token, "completed": False}]})
    return {
        "plain": [], "look": [[look, look]], "say": [[say, todo]], "write": [[write]], "act": [[act(1)]],
        "ask": [[ask]], "batch": [[look, act(1), ask, write]], "twice": [[act(1)], [act(2), say]],
    }[plan]  # fmt: skip


class Model:
    """Plays the plan that the last user message names; where it is in it, it reads from the conversation."""

    def __init__(self, record: Record, seed: int, effects_port: int, calm: Calm) -> None:
        self._record, self._seed, self._effects_port, self._calm = record, seed, effects_port, calm
        self._asked: Counter[tuple[str, int]] = Counter()

    def answer(self, exchange: Exchange) -> None:
        """Answer one request, well or badly; one that was cut off with its sender is none."""
        if "messages" not in exchange.body:
            raise ConnectionResetError
        token, plan, turn = _place(exchange.body["messages"])
        self._asked[token, turn] += 1
        number = self._asked[token, turn]
        chance = random.Random(f"{self._seed}:{token}:{turn}:{number}")
        fault = chance.choice(MODEL_FAULTS) if self._calm.strikes(chance, 0.2) else ""
        if fault == "refusal" and chance.random() < 0.8:
            fault = ""
        self._record.add("asked", token=token, turn=turn, number=number, fault=fault)
        time.sleep(chance.uniform(0, 0.06))
        given = turns(token, plan, self._effects_port)
        calls = given[turn] if turn < len(given) else []
        self._play(exchange, fault, token, calls)

    def _play(self, exchange: Exchange, fault: str, token: str, calls: list[Call]) -> None:
        text = f"done {token}" if not calls else "working"
        if fault == "limited":
            fault_server.plain(429, {"error": {"message": "slow down"}}, retry_after="1")(exchange)
        elif fault == "broken":
            fault_server.plain(500, {"error": {"message": "broken"}})(exchange)
        elif fault == "refusal":
            refused = {"error": {"message": "not this", "code": "content_policy_violation"}}
            fault_server.plain(400, refused)(exchange)
        elif fault == "hang":
            exchange.wait(4)
        elif fault == "truncated":
            fault_server.stream(fault_server.text(text[:3]), done=False)(exchange)
        elif fault in ("malformed_call", "unknown_tool"):
            name = "list_files" if fault == "malformed_call" else "no_such_tool"
            bad = fault_server.tool('{"base": ', index=0, id="bad-1", name=name)
            spoken = fault_server.text(SLIP), fault_server.delta(tool_calls=[bad])
            fault_server.stream(*spoken, fault_server.finish("tool_calls"))(exchange)
        else:
            if fault == "told_the_key":
                text += (
                    f" with {exchange.headers.get('Authorization') or exchange.headers.get('authorization')}"
                )
            self._speak(exchange, text, calls)

    def _speak(self, exchange: Exchange, text: str, calls: list[Call]) -> None:
        pieces = [
            fault_server.tool(json.dumps(arguments), index=index, id=f"call-{index}", name=name)
            for index, (name, arguments) in enumerate(calls)
        ]
        spoken = [fault_server.text(part) for part in (text[:4], text[4:])]
        if pieces:
            spoken.append(fault_server.delta(tool_calls=pieces))
        fault_server.stream(*spoken, fault_server.finish("tool_calls" if calls else "stop"))(exchange)


def _place(messages: list[dict[str, Any]]) -> tuple[str, str, int]:
    """Return token and plan of the last input, and how many of the plan's answers were given."""
    last = max(n for n, message in enumerate(messages) if _named(message))
    named = _named(messages[last])
    assert named is not None
    said = [m for m in messages[last:] if m["role"] == "assistant"]
    good = [m for m in said if not _text(m).startswith(SLIP)]
    return named[1], named[2], len(good)


def _named(message: dict[str, Any]) -> "re.Match[str] | None":
    return TOKEN.search(_text(message)) if message["role"] == "user" else None


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


class Target(HttpTarget):
    """An HTTP target that writes down every arrival, and every message it takes."""

    def __init__(self, record: Record, seed: int, calm: Calm, *, port: int = 0) -> None:
        super().__init__(port)
        self._record, self._seed, self._calm = record, seed, calm
        self.behave = self._behave

    def take(self, arrival: Arrival, *, answer: bool = True) -> None:
        self._record.add("taken", key=arrival.key, content=arrival.body.get("content", ""))
        super().take(arrival, answer=answer)

    def _behave(self, arrival: Arrival, before: int) -> None:
        if arrival.path == "/effect":
            self._record.add("effect", key=arrival.key, value=arrival.body["value"])
            chance = random.Random(f"{self._seed}:{arrival.key}")
            if self._calm.strikes(chance, 0.7):  # whoever dies meanwhile does not know
                arrival.gone.wait(chance.uniform(0.2, 2.0))
            arrival.answer(200, b"did it")
            return
        chance = random.Random(f"{self._seed}:{arrival.body['content']}:{before}")
        fault = chance.choice(TARGET_FAULTS) if self._calm.strikes(chance, 0.25) else ""
        self._record.add(
            "arrival", key=arrival.key, content=arrival.body["content"], fault=fault,
            delivery_id=arrival.body["metadata"]["delivery_id"],
        )  # fmt: skip
        _BEHAVIOURS.get(fault, Target.take)(self, arrival)


def _slow(target: Target, arrival: Arrival) -> None:
    arrival.gone.wait(0.4)
    target.take(arrival)


def _silent(target: Target, arrival: Arrival) -> None:
    target.take(arrival, answer=False)
    arrival.gone.wait(4)


def _late(target: Target, arrival: Arrival) -> None:
    arrival.gone.wait(2.5)
    target.take(arrival)


_BEHAVIOURS: Final[dict[str, Callable[[Target, Arrival], None]]] = {
    "limited": limited, "broken": broken, "slow": _slow, "nonsense": nonsense, "silent": _silent,
    "late": _late, "took_and_reset": took_and_reset, "reset": reset, "gateway": gateway,
}  # fmt: skip
"""What a target may do wrong; seeds depend on the order."""
TARGET_FAULTS: Final = tuple(_BEHAVIOURS)


class Witnessed(list[Any]):
    """A list whose every new member is written down."""

    def __init__(self, tell: Callable[[Any], object]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, item: Any) -> None:
        self._tell(item)
        super().append(item)


def _misbehave(seed: int, name: str, calm: Calm, strike: Callable[[random.Random], None]) -> None:
    """Do something wrong every second or so until the faults are over."""
    chance = random.Random(f"{seed}:{name}")

    def go_on() -> None:
        while not calm.is_calm:
            time.sleep(chance.uniform(1.0, 6.0))
            if not calm.is_calm:
                strike(chance)

    threading.Thread(target=go_on, daemon=True).start()


def _chat(record: Record, seed: int, calm: Calm) -> SlackServer:
    server = SlackServer()
    server.messages = Witnessed(lambda message: record.add("message", text=message.get("text", "")))
    faults = (slack_server.DROP, slack_server.DROP_AFTER, slack_server.NONSENSE, slack_server.broken())

    def strike(chance: random.Random) -> None:
        if server.faults["chat.postMessage"]:
            return
        fault = chance.choice(faults)
        record.add("fault", fault=str(fault))
        server.faults["chat.postMessage"].append(fault)

    _misbehave(seed, "asked", calm, strike)
    return server


def _bot(record: Record, seed: int, calm: Calm) -> TelegramServer:
    server = TelegramServer()
    server.messages = Witnessed(lambda message: record.add("message", text=message.get("text", "")))

    def strike(chance: random.Random) -> None:
        if server._faults["sendMessage"]:
            return
        after = chance.random() < 0.5
        record.add("fault", fault="hung up after" if after else "hung up before")
        server.queue("sendMessage", BotFault(status=0, after=after))

    _misbehave(seed, "bot", calm, strike)
    return server


def _hang_up(record: Record, mail: Any, chance: random.Random) -> None:
    """Let the sidecar hang up on whoever comes, or no more."""
    mail.hang_up = chance.random() < 0.3
    if mail.hang_up:
        record.add("fault", fault="hung up")


def main(arguments: list[str]) -> int:
    """Serve until standard input ends."""
    name, file, seed, port = arguments[0], Path(arguments[1]), int(arguments[2]), int(arguments[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    record, calm = Record(file), Calm()
    with ExitStack() as stack:
        arrive: Callable[[str], object] = lambda words: None  # noqa: E731
        if name == "model":
            server = stack.enter_context(FaultServer())
            server.answer = Model(record, seed, port, calm).answer
            url = server.base_url
        elif name in ("keyed", "plain"):
            target = stack.enter_context(Target(record, seed, calm, port=port))
            url = target.address["url"]
        elif name == "asked":
            url = stack.enter_context(_chat(record, seed, calm)).api
        elif name == "bot":
            bot = stack.enter_context(_bot(record, seed, calm))
            url = bot.url
            arrive = lambda words: _arrive(record, bot, words)  # noqa: E731
        else:
            mail = stack.enter_context(fake_sidecar())
            mail.deliveries = Witnessed(
                lambda sent: record.add("message", text=sent["content"], key=sent["delivery_id"])
            )
            _misbehave(seed, name, calm, lambda chance: _hang_up(record, mail, chance))
            url = mail.url
        print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)
        for line in sys.stdin:
            word, _, rest = line.strip().partition(" ")
            if word == "calm":
                calm.is_calm = True
                if name == "sidecar":
                    time.sleep(2.6)
                    mail.hang_up = False
            elif word == "arrive":
                arrive(rest)
    return 0


def _arrive(record: Record, bot: TelegramServer, words: str) -> None:
    """Let a message wait for the bot, unless it is far behind: a backlog proves nothing."""
    if len(bot.pending) >= MOST_PENDING:
        return
    number, _, text = words.partition(" ")
    record.add("update", number=int(number), text=text)
    post = platforms.telegram_post("bot", number, text)
    bot.arrive(json.loads(post.body))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

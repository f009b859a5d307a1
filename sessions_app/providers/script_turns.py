"""Which turn of a script answers a request.

Decided by the conversation alone, never by what this process remembers: after a crash another worker asks
again with the same conversation and must get the same turn.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kheish_site.lib.visible import shortened
from sessions_app.providers.base import Message, Request
from sessions_app.providers.script_file import Case, Script, Turn

LONGEST_INPUT = 10_000  # characters that patterns look at
LONGEST_INSERT = 400  # characters a placeholder inserts
AFTER_THE_LAST = Turn(text="Done.")
_PLACEHOLDER = re.compile(r"\{\{ ?(input|images|last_result|result\.[A-Za-z0-9_]+) ?\}\}")


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a script may look at: the last user input and what came after it.

    ``images`` lists those that came with the input and were loaded: type and bytes of each.
    ``results`` holds the newest result of each tool by name, ``answers`` counts the assistant messages.
    """

    input: str
    answers: int
    results: Mapping[str, str]
    last_result: str
    last_is_error: bool
    images: str = ""

    def fill(self, value: Any) -> Any:
        """``value`` with its placeholders replaced, in all texts inside."""
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda found: self._insert(found.group(1)), value)
        if isinstance(value, Mapping):
            return {key: self.fill(item) for key, item in value.items()}
        return [self.fill(item) for item in value] if isinstance(value, list) else value

    def _insert(self, name: str) -> str:
        if name.startswith("result."):
            text = self.results.get(name.removeprefix("result."), "")
        else:
            text = {"input": self.input, "images": self.images}.get(name, self.last_result)
        return shortened(text.strip(), LONGEST_INSERT)


def read(request: Request) -> Conversation:
    """The conversation since the last user input, also where a summary stands for its beginning."""
    since: list[Message] = []
    text, images, answers = "", "", 0
    for message in request.messages:
        compacted = message.extra.get("compacted")
        if isinstance(compacted, Mapping):
            text, images = str(compacted.get("input", text)), ""
            answers, since = int(compacted.get("assistant_messages", 0)), []
        elif message.role == "user":
            text, images, answers, since = message.content, _images(message), 0, []
        else:
            answers += message.role == "assistant"
            since.append(message)
    results = [message for message in since if message.role == "tool"]
    names = {call.id: call.name for message in since for call in message.tool_calls}
    return Conversation(
        input=text[:LONGEST_INPUT],
        answers=answers,
        results={names.get(result.tool_call_id, ""): result.content for result in results},
        last_result=results[-1].content if results else "",
        last_is_error=results[-1].is_error if results else False,
        images=images,
    )


def _images(message: Message) -> str:
    return ", ".join(f"{part.media_type} {len(part.data)} bytes" for part in message.images if part.data)


def choose(script: Script, conversation: Conversation) -> Turn:
    """The turn to play: first the case by the input, then the step by the count of answers so far."""
    case = next(case for case in script.cases if case.input.fits(conversation.input))
    fitting = (turn for turn in _step(case, conversation.answers) if _fits(turn, conversation))
    return next(fitting, AFTER_THE_LAST)


def _step(case: Case, answers: int) -> tuple[Turn, ...]:
    if case.repeat:
        answers %= len(case.steps)
    return case.steps[answers] if answers < len(case.steps) else (AFTER_THE_LAST,)


def _fits(turn: Turn, conversation: Conversation) -> bool:
    if turn.result_is_error not in (None, conversation.last_is_error):
        return False
    return turn.result.fits(conversation.last_result[:LONGEST_INPUT])

"""Token counts without a tokenizer and without the network.

The exact count depends on the model and comes back in its usage. What is needed before the call is only
good enough to compact in time, so these estimates lean high: one token per 3.5 bytes of UTF-8. The usual
rule of thumb for English prose is 4; source code, JSON and other scripts take more tokens for their bytes.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sessions_app.providers.base import Message, Request, ToolDefinition

MESSAGE_OVERHEAD_TOKENS = 4
TOOL_OVERHEAD_TOKENS = 8
IMAGE_TOKENS = 1_500  # one of 2048 pixels, at the servers that count most for it
DEFAULT_CONTEXT_TOKENS = 32_768

# Longest prefix wins. Names carry vendor prefixes on aggregators ("openai/gpt-5"), which are cut off.
CONTEXT_TOKENS = {
    "claude": 200_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
    "gpt-5": 400_000,
    "o3": 200_000,
    "o4": 200_000,
    "gemini-2": 1_048_576,
    "gemini-3": 1_048_576,
}


def estimate_tokens(text: str) -> int:
    """Tokens in ``text``, rounded up; 0 for an empty text."""
    length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-length * 2 // 7)


def estimate_message(message: Message) -> int:
    """Tokens of one message with its tool calls and the framing around them."""
    calls = sum(
        TOOL_OVERHEAD_TOKENS + estimate_tokens(call.name) + estimate_tokens(call.arguments)
        for call in message.tool_calls
    )
    images = IMAGE_TOKENS * len(message.images)
    return MESSAGE_OVERHEAD_TOKENS + estimate_tokens(message.content) + calls + images


@lru_cache(maxsize=1_000)
def estimate_tool(tool: ToolDefinition) -> int:
    """Tokens of one tool definition and the framing around it."""
    texts = (tool.name, tool.description, tool.schema_json)
    return TOOL_OVERHEAD_TOKENS + sum(map(estimate_tokens, texts))


def estimate_request(request: Request) -> int:
    """Tokens a request puts into the model's window: system prompt, messages and tool definitions."""
    tools = sum(map(estimate_tool, request.tools))
    messages = sum(estimate_message(message) for message in request.messages)
    return MESSAGE_OVERHEAD_TOKENS + estimate_tokens(request.system) + messages + tools


def context_window(model: str, options: Mapping[str, Any]) -> int:
    """Tokens the model can take: the option ``context_window``, else by name, else a careful guess."""
    given = options.get("context_window")
    if isinstance(given, int) and not isinstance(given, bool) and given > 0:
        return given
    name = model.rsplit("/", 1)[-1].lower()
    matching = [prefix for prefix in CONTEXT_TOKENS if name.startswith(prefix)]
    return CONTEXT_TOKENS[max(matching, key=len)] if matching else DEFAULT_CONTEXT_TOKENS

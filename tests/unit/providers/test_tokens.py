"""Estimates that are good enough to compact in time."""

import pytest

from sessions_app.providers.base import Message, ToolCallPart
from sessions_app.providers.tokens import (
    DEFAULT_CONTEXT_TOKENS,
    context_window,
    estimate_request,
    estimate_tokens,
)
from tests.unit.providers.conftest import make_request


def test_estimates_grow_with_the_text_and_lean_high() -> None:
    prose = "The quick brown fox jumps over the lazy dog. " * 10
    assert estimate_tokens("") == 0
    assert estimate_tokens("a") == 1
    assert len(prose) / 4 < estimate_tokens(prose) < len(prose) / 3


def test_other_scripts_and_broken_text_count_by_bytes() -> None:
    assert estimate_tokens("延迟上升了") == 5
    assert estimate_tokens("\ud83d") == 1


def test_every_part_of_a_request_counts() -> None:
    small = estimate_request(make_request(tools=()))
    call = ToolCallPart(id="c", name="read_file", arguments='{"path": "a"}')
    assert estimate_request(make_request()) > small
    assert estimate_request(make_request(Message(role="user", content="x" * 350), tools=())) > small + 90
    assert (
        estimate_request(make_request(Message(role="assistant", content="", tool_calls=(call,)), tools=()))
        > small
    )


@pytest.mark.parametrize(
    ("model", "options", "window"),
    [
        ("gpt-5-mini", {}, 400_000),
        ("openai/gpt-4o", {}, 128_000),
        ("gpt-4.1-nano", {}, 1_047_576),
        ("Claude-sonnet", {}, 200_000),
        ("some-local-model", {}, DEFAULT_CONTEXT_TOKENS),
        ("gpt-5", {"context_window": 9000}, 9000),
        ("gpt-5", {"context_window": True}, 400_000),
        ("gpt-5", {"context_window": -1}, 400_000),
    ],
)
def test_windows(model: str, options: dict[str, object], window: int) -> None:
    assert context_window(model, options) == window

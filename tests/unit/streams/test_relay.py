"""Live text never shows a part of a secret, wherever the model or the network cuts it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kheish_site.lib.redaction import MASK, redact, register_secret
from sessions_app.services.doorbell import relay as relay_module
from sessions_app.services.doorbell.live import Delta
from sessions_app.services.doorbell.relay import DeltaRelay, settled

KNOWN = ("hunter2-correct horse-battery", "zz" * 300 + "end", "línea-één\nzwei-three")
SECRETS = (
    *KNOWN,
    "sk-abcdefghijklmnopqrstuvwxyz0123",
    "Bearer abcdef0123456789",
    "password: correcthorse",
    "api_key = 'k3yk3yk3yk3y'",
    "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0" * 20 + ".c2lnbmF0dXJlLXBhcnQ",
    "postgres://app:s3cretpw@db/app",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1r ZXktdjEA\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
)
for number, value in enumerate(KNOWN):
    register_secret(f"known-{number}", value)

words = st.text(alphabet="abc de.\n,é日本", max_size=80)


class Wire:
    """Records what would leave the process."""

    def __init__(self) -> None:
        self.pieces: list[Delta] = []

    def __call__(self, piece: Delta) -> None:
        self.pieces.append(piece)

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


def relay(wire: Wire, interval_seconds: float = 0.0, clock: Any = lambda: 0.0) -> DeltaRelay:
    first = Delta(session_pk=1, run_pk=2, run_id="run_1", session_id="s", step=1, attempt=1, index=0, text="")
    return DeltaRelay(first, interval_seconds=interval_seconds, send=wire, clock=clock)


@settings(max_examples=300, deadline=None)
@given(before=words, secret=st.sampled_from(SECRETS), after=words, data=st.data())
def test_the_pieces_are_the_redacted_whole(before: str, secret: str, after: str, data: st.DataObject) -> None:
    text = f"{before} {secret} {after}"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    wire = Wire()
    sender = relay(wire)
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        sender.push(text[start:end])
        assert redact(text).startswith(wire.text)
    sender.close()
    assert wire.text == redact(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_comes_letter_by_letter(secret: str) -> None:
    text = f"here it is: {secret} and then a good deal of other text follows it, for a while at least"
    wire = Wire()
    sender = relay(wire)
    for letter in text:
        sender.push(letter)
        assert redact(text).startswith(wire.text)
    sender.close()
    assert MASK in wire.text
    assert wire.text == redact(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_that_never_ends_is_not_shown_when_it_would_match(secret: str) -> None:
    wire = Wire()
    sender = relay(wire)
    for letter in f"a few words first {secret}":
        sender.push(letter)
    sender.close()
    assert secret not in wire.text


def test_ordinary_text_flows() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 5
    cut = settled(text)
    assert len(text) - 60 < cut < len(text)


def test_text_without_spaces_flows_where_no_shape_is_made_of_its_letters() -> None:
    assert settled("日本語の文章には空白がありません。" * 10) > 100


def test_pieces_are_numbered_and_not_sent_more_often_than_the_interval() -> None:
    wire = Wire()
    ticks = iter(number * 0.01 for number in range(1000))
    sender = relay(wire, interval_seconds=0.05, clock=lambda: next(ticks))
    for _ in range(100):
        sender.push("some words ")
    sender.close()
    assert [piece.index for piece in wire.pieces] == list(range(len(wire.pieces)))
    assert 10 <= len(wire.pieces) <= 21
    assert wire.text == "some words " * 100


def test_a_long_text_without_a_place_to_cut_takes_a_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is looked at as a whole each time, which would take all of it."""
    wire, now, looked = Wire(), [0.0], [0.0]

    def slow(text: str) -> int:
        cost = len(text) * 1e-6
        now[0] += cost
        looked[0] += cost
        return 0

    monkeypatch.setattr(relay_module, "settled", slow)
    sender = relay(wire, interval_seconds=0.05, clock=lambda: now[0])
    for _ in range(2000):
        now[0] += 0.01
        sender.push("x" * 1000)
    sender.close()
    assert looked[0] < 0.35 * now[0]
    assert wire.text == "x" * 2_000_000

"""Exports are checked here, with the file and the public key alone: every changed byte is found."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kheish_site.lib import action_chain
from kheish_site.lib.action_chain import GENESIS, Signer, verify
from tests.unit.cli.fake_service import Answer, Stream, page, problem

ROOT = Path(__file__).resolve().parents[3]
SIGNER = Signer(base64.b64encode(bytes(range(32))).decode())
STRANGER = Signer(base64.b64encode(bytes(32)).decode())


def record(seq: int, head: str, *, signer: Signer = SIGNER, **changed: Any) -> dict[str, Any]:
    unsigned = dict.fromkeys(action_chain.UNSIGNED, "") | {
        "version": 1, "bucket": "desk", "seq": seq, "at": f"2026-01-01T10:00:0{seq}.000Z",
        "session_id": "desk", "principal_id": "zoé", "grant_id": "permission:default", "kind": "tool",
        "phase": "started", "target": "bash", "prev_hash": head,
    }  # fmt: skip
    return action_chain.sealed_record(unsigned | changed, signer)


def export(count: int = 3, *, signer: Signer = SIGNER, **changed: Any) -> list[bytes]:
    head, lines = GENESIS, []
    for seq in range(1, count + 1):
        made = record(seq, head, signer=signer, **changed)
        head = made["record_hash"]
        lines.append(action_chain.line(made).encode())
    end = action_chain.checkpoint(bucket="desk", count=count, head=head, at="2026-01-01T11:00:00.000Z")
    return [*lines, action_chain.line(signer.sealed(end)).encode()]


LINES = export()
WHOLE = b"".join(LINES)
SMALL = b"".join(export(1))


def lines_of(content: bytes) -> list[bytes]:
    return [part for part in re.split(rb"(?<=\n)", content) if part]


def problems(content: bytes) -> list[tuple[int, str]]:
    found = verify(lines_of(content), SIGNER.key_id)
    return [(item.line, item.problem) for item in found.problems]


def test_a_whole_export() -> None:
    found = verify(LINES, SIGNER.key_id)
    assert found.valid
    assert (found.bucket, found.records) == ("desk", 3)


def test_an_empty_chain_is_whole() -> None:
    assert verify(export(0), SIGNER.key_id).valid


def test_every_flip_of_every_byte_is_found() -> None:
    for place, byte in enumerate(SMALL):
        for bit in (0x01, 0x20):  # 0x20 turns a letter of hex into the other case
            changed = SMALL[:place] + bytes([byte ^ bit]) + SMALL[place + 1 :]
            assert problems(changed), (place, bit)


@given(place=some.integers(0, len(WHOLE) - 1), flip=some.integers(1, 255))
def test_every_flip_in_a_longer_export_is_found(place: int, flip: int) -> None:
    assert problems(WHOLE[:place] + bytes([WHOLE[place] ^ flip]) + WHOLE[place + 1 :])


def test_every_deletion_and_every_truncation_is_found() -> None:
    for place in range(len(SMALL)):
        assert problems(SMALL[:place]), place
        assert problems(SMALL[:place] + SMALL[place + 1 :]), place


@given(place=some.integers(0, len(WHOLE)), added=some.binary(min_size=1, max_size=4))
def test_every_insertion_is_found(place: int, added: bytes) -> None:
    changed = WHOLE[:place] + added + WHOLE[place:]
    assert changed == WHOLE or problems(changed)


@given(order=some.permutations(range(len(LINES))))
def test_every_other_order_is_found(order: list[int]) -> None:
    changed = b"".join(LINES[number] for number in order)
    assert changed == WHOLE or problems(changed)


@given(kept=some.sets(some.integers(0, len(LINES) - 1)))
def test_every_missing_or_repeated_line_is_found(kept: set[int]) -> None:
    if kept != set(range(len(LINES))):
        assert problems(b"".join(LINES[number] for number in sorted(kept)))
    for number in kept:
        assert problems(b"".join([*LINES[: number + 1], *LINES[number:]]))


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"bash", b"mash"), *lines[2:]],
         [(2, "the signature is not that of this line")]),
        (lambda lines: [lines[0], *lines[2:]],
         [(2, "record 2 should stand here, not 3"),
          (3, "the checkpoint was signed over 3 records, here are 2")]),
        (lambda lines: lines[:-1], [(4, "the checkpoint is missing: the end was cut off")]),
        (lambda lines: [*lines[:2], lines[-1]],
         [(3, "the checkpoint was signed over 3 records, here are 2")]),
        (lambda lines: [*lines, lines[-1]], [(5, "a line after the checkpoint")]),
        (lambda lines: [lines[0].replace(b":", b": ", 1), *lines[1:]],
         [(1, "the line is not canonical JSON: it was changed"),
          (2, "it does not follow the record before")]),
        (lambda lines: [*lines[:-1], lines[-1].rstrip(b"\n")],
         [(4, "the line has no end: it was cut off"), (5, "the checkpoint is missing: the end was cut off")]),
        (lambda lines: [], [(1, "the checkpoint is missing: the end was cut off")]),
    ],
)  # fmt: skip
def test_harm_is_named_with_its_line(harm: Any, found: list[tuple[int, str]]) -> None:
    assert problems(b"".join(harm(LINES))) == found


def test_another_keys_word_counts_for_nothing() -> None:
    found = verify(export(signer=STRANGER), SIGNER.key_id)
    assert {item.problem for item in found.problems} == {"signed by another key"}


def test_a_line_of_another_chain_is_found() -> None:
    foreign = export(bucket="other", session_id="other")
    assert problems(b"".join([LINES[0], foreign[1], *LINES[2:]]))[0] == (2, "it belongs to another chain")


def test_a_signed_line_that_lies_about_its_hash_is_found() -> None:
    made = {**record(1, GENESIS), "record_hash": "0" * 64}
    bare = {name: value for name, value in made.items() if name not in action_chain.SEAL}
    assert problems(action_chain.line(SIGNER.sealed(bare)).encode())[0] == (1, "the record was changed")


@pytest.mark.parametrize(
    "raw", [b"[]\n", b"1\n", b"{}\n", b'{"a":NaN}\n', b"[" * 9000 + b"\n", b'{"a":1e999}\n', b"\xff\n", b"\n"]
)
def test_nonsense_is_a_problem_and_no_failure(raw: bytes) -> None:
    assert problems(raw)[0][0] == 1


@pytest.mark.parametrize("key", ["", "short", "é" * 44, base64.b64encode(bytes(31)).decode()])
def test_a_bad_signing_key_is_refused(key: str) -> None:
    with pytest.raises(ValueError):
        Signer(key)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "export.jsonl"
    made.write_bytes(WHOLE)
    return made


def test_verify_needs_the_file_and_the_key_alone(service, kheish, file: Path, tmp_path: Path) -> None:
    service.stop()
    answer = kheish("audit", "verify", str(file), "--public-key", SIGNER.key_id)
    assert (answer.code, answer.out.startswith("3 records of desk, whole; head ")) == (0, True)
    key = tmp_path / "key.txt"
    key.write_text(SIGNER.key_id.upper() + "\n")
    assert kheish("audit", "verify", str(file), "--public-key", str(key)).code == 0
    shown = json.loads(kheish("audit", "verify", str(file), "--public-key", str(key), "--json").out)
    assert (shown["valid"], shown["records"], shown["problems"]) == (True, 3, [])


def test_verify_shows_what_is_wrong_and_fails(kheish, file: Path) -> None:
    file.write_bytes(WHOLE.replace(b"bash", b"mash", 1))
    answer = kheish("audit", "verify", str(file), "--public-key", SIGNER.key_id)
    assert answer.code == 1
    assert answer.out.splitlines()[1].split(maxsplit=1) == ["1", "the signature is not that of this line"]
    shown = json.loads(kheish("audit", "verify", str(file), "--public-key", SIGNER.key_id, "--json").out)
    assert (shown["valid"], shown["problems"][0]["line"]) == (False, 1)


def test_verify_runs_by_manage_without_service_or_database(file: Path, tmp_path: Path) -> None:
    """The state folder stays empty: nothing was opened, nothing was made."""
    state = tmp_path / "state"
    told = subprocess.run(
        [sys.executable, "manage.py", "audit", "verify", str(file), "--public-key", SIGNER.key_id],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={"PATH": "/usr/bin", "KHEISH_STATE_DIR": str(state), "KHEISH_URL": "http://127.0.0.1:9"},
    )  # fmt: skip
    assert (told.returncode, told.stderr) == (0, "")
    assert not state.exists()


@pytest.mark.parametrize(
    "argv",
    [
        (), ("missing.jsonl",), ("missing.jsonl", "--public-key", "0" * 64), ("x", "--live", "y"),
        ("missing.jsonl", "--public-key", "nothing-like-a-key"),
    ],
)  # fmt: skip
def test_wrong_use_is_said(kheish, argv: tuple[str, ...]) -> None:
    assert kheish("audit", "verify", *argv).code == 2


def test_a_file_that_holds_no_key_is_refused(kheish, file: Path) -> None:
    assert kheish("audit", "verify", str(file), "--public-key", str(file)).code == 2


@pytest.mark.parametrize("text", ["kye.pub", "", "0" * 63])
def test_what_is_no_public_key_is_said_with_what_one_is(kheish, file: Path, text: str) -> None:
    answer = kheish("audit", "verify", str(file), "--public-key", text)
    assert answer.code == 2
    assert "A public key is 64 characters of hex, or a file that holds them." in answer.err
    assert "[Errno" not in answer.err


def text_answer(content: bytes) -> Any:
    return Answer(200, content.decode(), {"Content-Type": "application/x-ndjson"})


def test_export_writes_the_bytes_it_was_given(service, kheish, tmp_path: Path) -> None:
    service.on("GET", "/v1/sessions/desk/external-actions/export", text_answer(WHOLE))
    target = tmp_path / "out.jsonl"
    assert kheish("audit", "export", "desk", "-o", str(target)).code == 0
    assert target.read_bytes() == WHOLE
    assert service.last("GET").headers["accept"] == "application/x-ndjson"
    assert kheish("audit", "export", "desk").out.encode() == WHOLE
    assert [name.name for name in tmp_path.iterdir()] == ["out.jsonl"]


def test_an_export_that_is_refused_leaves_no_file(service, kheish, tmp_path: Path) -> None:
    service.on("GET", "/v1/sessions/desk/external-actions/export", problem(404, "session_not_found", "no"))
    assert kheish("audit", "export", "desk", "-o", str(tmp_path / "out.jsonl")).code == 1
    assert not list(tmp_path.iterdir())


def test_an_export_that_breaks_off_leaves_no_file(service, kheish, tmp_path: Path) -> None:
    broken = Stream([WHOLE[:900]], drop=True)
    service.on("GET", "/v1/sessions/desk/external-actions/export", broken)
    assert kheish("audit", "export", "desk", "-o", str(tmp_path / "out.jsonl")).code == 7
    assert not list(tmp_path.iterdir())


def test_what_no_session_asked_for_is_exported_by_its_own_name(service, kheish) -> None:
    service.on("GET", "/v1/external-actions/export", text_answer(WHOLE))
    assert kheish("audit", "export", "unscoped").out.encode() == WHOLE


def test_what_the_service_exports_now_can_be_checked(service, kheish) -> None:
    service.on("GET", "/v1/sessions/desk/external-actions/export", text_answer(WHOLE))
    service.on("GET", "/v1/runtime/audit-key", {"signature_alg": "ed25519", "public_key": SIGNER.key_id})
    assert kheish("audit", "verify", "--live", "desk").code == 0
    assert kheish("audit", "verify", "--live", "desk", "--public-key", STRANGER.key_id).code == 1


def test_the_key_and_the_list(service, kheish) -> None:
    service.on("GET", "/v1/runtime/audit-key", {"signature_alg": "ed25519", "public_key": SIGNER.key_id})
    assert kheish("audit", "key").out == f"{SIGNER.key_id}\n"
    assert json.loads(kheish("audit", "key", "--json").out)["public_key"] == SIGNER.key_id
    service.on("GET", "/v1/external-actions", page(record(1, GENESIS)))
    shown = kheish("audit", "list", "--run-id", "run_1", "--kind", "tool").out
    assert "desk#1" in shown
    assert "permission:default" in shown
    assert service.last("GET").query == {"run_id": "run_1", "kind": "tool", "limit": "50"}


def test_the_records_of_one_run(service, kheish) -> None:
    service.on("GET", "/v1/runs/run_1/external-actions", page(record(1, GENESIS)))
    assert "desk#1" in kheish("runs", "external-actions", "run_1").out
    assert json.loads(kheish("runs", "external-actions", "run_1", "--json").out)["items"][0]["seq"] == 1
    service.on("GET", "/v1/runs/nope/external-actions", problem(404, "run_not_found", "no run nope"))
    assert kheish("runs", "external-actions", "nope").code == 1

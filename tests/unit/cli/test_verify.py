"""The hash chain is recomputed on this side, so that the service's word is not needed."""

import hashlib
import json

import pytest

from tests.unit.cli.fake_service import page


def chain(count: int) -> list[dict]:
    """Entries by the published rule, written out here a second time on purpose."""
    entries, head = [], "0" * 64
    for seq in range(1, count + 1):
        content = {
            "at": f"2026-01-01T10:00:0{seq}.000Z",
            "kind": "message.created",
            "payload": {"b": "é", "a": seq},
            "run_id": None,
            "session_id": "demo",
            "version": 1,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        entry = content | {"seq": seq, "prev_hash": head}
        head = hashlib.sha256(f"{head}:{seq}:{digest}".encode()).hexdigest()
        entries.append(entry | {"hash": head})
    return entries


def verify(service, kheish, entries: list[dict], next_seq: int) -> tuple[int, str]:
    service.on("GET", "/v1/sessions/demo", {"session_id": "demo", "next_seq": next_seq})
    service.on("GET", "/v1/sessions/demo/events", page(*entries))
    result = kheish("sessions", "verify", "demo")
    return result.code, result.out


def test_a_whole_journal(service, kheish) -> None:
    code, out = verify(service, kheish, chain(3), next_seq=4)
    assert code == 0
    assert out.startswith("3 entries, whole; head ")


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda entries: entries[1]["payload"].update(a=9), "broken at entry 2: the entry was changed"),
        (lambda entries: entries.pop(1), "broken at entry 2: entry 2 is missing"),
        (
            lambda entries: entries[2].update(prev_hash="0" * 64),
            "broken at entry 3: the entry does",
        ),
        (lambda entries: entries.pop(), "broken at entry 3: the journal should reach entry 3"),
    ],
)
def test_harm_is_found(service, kheish, harm, found) -> None:
    entries = chain(3)
    harm(entries)
    code, out = verify(service, kheish, entries, next_seq=4)
    assert code == 1
    assert out.startswith(found)


def test_the_verdict_as_json(service, kheish) -> None:
    service.on("GET", "/v1/sessions/demo", {"session_id": "demo", "next_seq": 3})
    service.on("GET", "/v1/sessions/demo/events", page(*chain(2)))
    document = json.loads(kheish("sessions", "verify", "demo", "--json").out)
    assert (document["valid"], document["entries"], document["broken_at"]) == (True, 2, None)

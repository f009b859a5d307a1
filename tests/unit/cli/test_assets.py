"""`assets`, and files that go with an input."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from tests.unit.cli.fake_service import Answer, page, problem

BYTES = b"\x89PNG\r\n\x00\xff"
VIEW = {
    "asset_id": "asset_1",
    "file_name": "dot.png",
    "media_type": "image/png",
    "sha256": hashlib.sha256(BYTES).hexdigest(),
    "size_bytes": len(BYTES),
    "created_at": "2026-01-01T10:00:00Z",
}
RUN = {"run_id": "run_1", "session_id": "demo", "status": "queued"}


@pytest.fixture
def stored(service):
    service.on("GET", "/v1/assets/asset_1", VIEW)
    service.on("GET", "/v1/assets/asset_1/raw", Answer(200, BYTES, {"Content-Type": "image/png"}))
    return service


def test_a_list_is_a_table(service, kheish) -> None:
    service.on("GET", "/v1/assets", page(VIEW))
    lines = kheish("assets", "list", "--name", "dot").out.splitlines()
    assert lines[0].split() == ["ASSET", "FILE", "TYPE", "BYTES", "STORED"]
    assert lines[1].split()[:4] == ["asset_1", "dot.png", "image/png", "8"]
    assert service.last("GET").query == {"file_name": "dot", "limit": "50"}


def test_a_file_is_uploaded_with_its_name(service, kheish) -> None:
    Path("dot.png").write_bytes(BYTES)
    service.on("POST", "/v1/assets", Answer(201, VIEW))
    assert kheish("assets", "upload", "dot.png", "-q").out == "asset_1\n"
    sent = {"file_name": "dot.png", "content_base64": base64.b64encode(BYTES).decode()}
    assert service.last().body == sent
    assert kheish("assets", "upload", "dot.png", "--media-type", "image/png").code == 0
    assert service.last().body == sent | {"media_type": "image/png"}


def test_a_file_that_is_not_there(kheish) -> None:
    result = kheish("assets", "upload", "none.txt")
    assert result.code == 2 and "cannot read none.txt" in result.err


def test_a_download_keeps_what_is_there(stored, kheish) -> None:
    assert kheish("assets", "download", "asset_1").out == "dot.png\n"
    assert Path("dot.png").read_bytes() == BYTES
    Path("dot.png").write_bytes(b"mine")
    refused = kheish("assets", "download", "asset_1")
    assert refused.code == 2 and "dot.png exists" in refused.err
    assert Path("dot.png").read_bytes() == b"mine"
    assert kheish("assets", "download", "asset_1", "--force").code == 0
    assert Path("dot.png").read_bytes() == BYTES
    answer = kheish("assets", "download", "asset_1", "-o", "copy.bin", "--json")
    assert json.loads(answer.out)["path"] == "copy.bin"


def test_a_name_from_the_service_leads_nowhere(stored, kheish) -> None:
    stored.on("GET", "/v1/assets/asset_1", VIEW | {"file_name": "../../evil.png"})
    assert kheish("assets", "download", "asset_1").out == "evil.png\n"
    assert Path("evil.png").exists()


def test_bytes_that_are_not_those_are_not_written(stored, kheish) -> None:
    stored.on("GET", "/v1/assets/asset_1/raw", Answer(200, BYTES[:-1], {"Content-Type": "image/png"}))
    result = kheish("assets", "download", "asset_1")
    assert result.code == 1 and "not the stored ones" in result.err
    assert not Path("dot.png").exists()


def test_a_refused_download(stored, kheish) -> None:
    stored.on("GET", "/v1/assets/asset_1/raw", problem(409, "asset_integrity_mismatch", "changed"))
    result = kheish("assets", "download", "asset_1")
    assert result.code == 6 and "changed" in result.err


def test_deleting(service, kheish) -> None:
    service.on("DELETE", "/v1/assets/asset_1", {"asset_id": "asset_1", "deleted": True, "dry_run": False})
    result = kheish("assets", "delete", "asset_1", "--yes")
    assert (result.code, result.out) == (0, "asset_1\n") and "Deleted." in result.err
    assert service.last("DELETE").query == {}
    assert "would be" in kheish("assets", "delete", "asset_1", "--dry-run").err
    assert service.last("DELETE").query == {"dry_run": "true"}


def test_a_person_is_asked_before_bytes_go(service, kheish) -> None:
    result = kheish("assets", "delete", "asset_1", stdin="n\n", tty=True)
    assert result.code == 1 and not service.seen


def test_files_go_with_an_input(service, kheish) -> None:
    Path("a.txt").write_text("a")
    Path("b.txt").write_text("b")
    ids = [Answer(201, VIEW | {"asset_id": f"asset_{name}"}) for name in ("a", "b", "a")]
    service.on("POST", "/v1/assets", ids)
    service.on("POST", "/v1/sessions/demo/runs", Answer(202, RUN))
    given = ("sessions", "input", "demo")
    assert kheish(*given, "look", "--attach", "a.txt", "--attach", "b.txt", "-q").out == "run_1\n"
    attachments = [{"asset_id": "asset_a"}, {"asset_id": "asset_b"}]
    assert service.last().body == {"content": "look", "attachments": attachments}
    assert kheish(*given, "--attach", "a.txt").code == 0
    assert service.last().body == {"attachments": attachments[:1]}

"""`observations`: what each command sends, and with whose token."""

import base64
from pathlib import Path

import pytest

from tests.unit.cli.fake_service import Answer, page, problem

ROOT = "/v1/observation-sources"
SOURCE = {"source_id": "cam", "kind": "screen_snapshot", "enabled": True, "revision": 3, "tokens": []}
SEEN = {"observation_id": "obs_1", "media_type": "image/png", "size_bytes": 3}


def sent(service, method: str = "POST") -> tuple[str, object]:
    seen = service.last(method)
    return seen.path, seen.body


def test_a_new_source_prints_its_token_alone(service, kheish) -> None:
    service.on("POST", ROOT, Answer(201, {**SOURCE, "token": "ko_new"}))
    result = kheish(
        "observations", "sources", "create", "cam", "--kind", "screen_snapshot", "--sensitive", "no"
    )
    assert result.out == "ko_new\n"
    assert sent(service)[1] == {"source_id": "cam", "kind": "screen_snapshot", "sensitive": False}


@pytest.mark.parametrize(
    ("argv", "code", "advice"),
    [
        ("list cam", "observation_source_not_found", "observations sources list"),
        ("sources get cam", "observation_source_not_found", "observations sources list"),
        ("get obs_1", "observation_not_found", "observations list SOURCE"),
        ("schedules delete cam osc_1", "observation_schedule_not_found", "observations schedules list cam"),
    ],
)
def test_what_is_not_there_is_listed_by_a_command_that_works(service, kheish, argv, code, advice) -> None:
    lost = problem(404, code, "there is none")
    for address in (f"{ROOT}/cam", f"{ROOT}/cam/observations", "/v1/observations/obs_1"):
        service.on("GET", address, lost)
    service.on("DELETE", f"{ROOT}/cam/schedules/osc_1", lost)
    result = kheish("observations", *argv.split())
    assert (result.code, result.err) == (1, f"error: there is none\n  See which there are: kheish {advice}\n")


def test_tokens_are_rotated_and_revoked(service, kheish) -> None:
    service.on("POST", f"{ROOT}/cam/rotate-token", {"source_id": "cam", "token": "ko_next"})
    assert (
        kheish("observations", "sources", "rotate-token", "cam", "--grace-seconds", "60").out == "ko_next\n"
    )
    assert sent(service) == (f"{ROOT}/cam/rotate-token", {"grace_period_ms": 60_000})
    service.on("POST", f"{ROOT}/cam/revoke-token", {"source_id": "cam", "revoked": 2})
    assert kheish("observations", "sources", "revoke-token", "cam").code == 0


def test_a_source_is_changed_as_it_was_seen(service, kheish) -> None:
    service.on("GET", f"{ROOT}/cam", SOURCE)
    service.on("PUT", f"{ROOT}/cam", SOURCE)
    argv = ("observations", "sources", "update", "cam", "--retention-days", "2", "--enabled", "no")
    assert kheish(*argv).code == 0
    assert sent(service, "PUT")[1] == {"retention_days": 2, "enabled": False}
    assert kheish("observations", "sources", "update", "cam").code == 2
    service.on("DELETE", f"{ROOT}/cam", Answer(204))
    assert kheish("observations", "sources", "delete", "cam", "--yes").code == 0


def test_lists(service, kheish) -> None:
    service.on("GET", ROOT, page(SOURCE))
    assert kheish("observations", "sources", "list", "-q").out == "cam\n"
    service.on("GET", f"{ROOT}/cam/observations", page(SEEN))
    argv = ("observations", "list", "cam", "--stream", "left", "--include-purged", "-q")
    assert kheish(*argv).out == "obs_1\n"
    assert service.last("GET").query == {"stream_id": "left", "include_purged": "true", "limit": "50"}
    service.on("GET", "/v1/observations/obs_1", SEEN)
    assert kheish("observations", "get", "obs_1", "-q").out == "obs_1\n"


def test_an_upload_goes_with_the_sources_own_token(service, kheish, tmp_path: Path) -> None:
    (tmp_path / "shot.png").write_bytes(b"abc")
    (tmp_path / "token").write_text("kh_test_token\n")
    service.on("POST", f"{ROOT}/cam/observations", Answer(201, SEEN))
    argv = ("observations", "upload", "cam", "shot.png", "--source-token-file", "token")
    assert kheish(*argv, "--stream", "left", "--metadata", "n=1", "--idempotency-key", "k").code == 0
    body = {
        "content_base64": base64.b64encode(b"abc").decode(),
        "file_name": "shot.png",
        "media_type": "application/octet-stream",
        "stream_id": "left",
        "metadata": {"n": 1},
    }
    assert sent(service) == (f"{ROOT}/cam/observations", body)
    missing = kheish("observations", "upload", "cam", "none.png", "--source-token-file", "token")
    assert (missing.code, "cannot read none.png" in missing.err) == (2, True)


def test_the_token_of_the_command_line_uploads_nothing(service, kheish, tmp_path: Path) -> None:
    (tmp_path / "shot.png").write_bytes(b"abc")
    (tmp_path / "token").write_text("ko_other\n")
    service.on("POST", f"{ROOT}/cam/observations", Answer(201, SEEN))
    result = kheish("observations", "upload", "cam", "shot.png", "--source-token-file", "token")
    assert result.code != 0  # the fake service knows the command line's token only


@pytest.mark.parametrize(
    ("argv", "selector"),
    [
        (("--source", "cam"), {"type": "latest_from_source", "source_id": "cam"}),
        (
            ("--source", "cam", "--stream", "s"),
            {"type": "latest_from_stream", "source_id": "cam", "stream_id": "s"},
        ),
        (("--group", "g"), {"type": "observation_group", "capture_group_id": "g"}),
        (
            ("--observation-id", "a", "--observation-id", "b"),
            {"type": "observation_ids", "observation_ids": ["a", "b"]},
        ),
    ],
)
def test_materialize(argv: tuple[str, ...], selector: dict[str, object], service, kheish) -> None:
    service.on("POST", "/v1/observations/materialize", Answer(202, {"run_id": "run_1"}))
    result = kheish("observations", "materialize", "desk", "Look.", *argv, "--max", "2", "-q")
    assert result.out == "run_1\n"
    assert sent(service)[1] == {
        "session_id": "desk",
        "prompt": "Look.",
        "selector": selector,
        "max_observations": 2,
    }


@pytest.mark.parametrize("argv", [(), ("--stream", "s"), ("--group", "g", "--source", "cam")])
def test_a_selection_is_said_one_way(argv: tuple[str, ...], service, kheish) -> None:
    result = kheish("observations", "materialize", "desk", "Look.", *argv)
    assert (result.code, "say which observations" in result.err) == (2, True)


def test_schedules_and_purging(service, kheish) -> None:
    service.on("POST", f"{ROOT}/cam/schedules", Answer(201, {"schedule_id": "osc_1"}))
    argv = ("observations", "schedules", "create", "cam", "desk", "Look.", "--every-seconds", "60", "-q")
    assert kheish(*argv).out == "osc_1\n"
    assert sent(service)[1] == {"session_id": "desk", "prompt": "Look.", "interval_seconds": 60}
    service.on("GET", f"{ROOT}/cam/schedules", page({"schedule_id": "osc_1"}))
    assert kheish("observations", "schedules", "list", "cam", "-q").out == "osc_1\n"
    service.on("DELETE", f"{ROOT}/cam/schedules/osc_1", Answer(204))
    assert kheish("observations", "schedules", "delete", "cam", "osc_1").code == 0
    service.on("DELETE", "/v1/observations/obs_1", SEEN)
    assert kheish("observations", "purge", "obs_1", "--yes", "-q").out == "obs_1\n"

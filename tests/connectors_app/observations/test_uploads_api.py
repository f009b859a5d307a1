"""POST /v1/observation-sources/{id}/observations: one token, one source, each upload once."""

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from connectors_app.models import Observation, ObservationToken
from connectors_app.services.observations import source_tokens, sources
from kheish_site.lib import clock
from sessions_app.models import Asset, AssetReference
from tests.connectors_app.observations.rows import device, make_source, png, wav
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db

PATH = "/v1/observation-sources/cam/observations"


def upload(client: APIClient, data: bytes = b"", *, key: str = "k-1", path: str = PATH, **fields: Any) -> Any:
    body = {
        "media_type": "image/png",
        "content_base64": base64.b64encode(data or png(1)).decode(),
        **fields,
    }
    headers = {"Idempotency-Key": key} if key else {}
    return client.post(path, body, headers=headers)


def upload_raw(client: APIClient, data: bytes, content_type: str = "image/png", **headers: str) -> Any:
    named = {"Idempotency-Key": "k-1"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return client.generic("POST", PATH, data, content_type=content_type, headers=named)


def test_an_upload_is_an_observation_and_an_asset() -> None:
    _, token = make_source()
    answer = upload(device(token), stream_id="left", captured_at="2026-11-01T10:00:00Z", metadata={"n": 1})
    assert answer.status_code == 201, answer.content
    row = Observation.objects.get()
    assert answer["Location"] == f"/v1/observations/{row.observation_id}"
    assert answer.json()["captured_at"] == "2026-11-01T10:00:00.000Z"
    assert row.asset is not None
    assert (row.media_type, row.size_bytes, row.stream_id) == ("image/png", len(png(1)), "left")
    reference = AssetReference.objects.get()
    assert (reference.domain, reference.owner_id, reference.hard) == (
        "observations",
        row.observation_id,
        True,
    )


def test_a_file_may_be_the_body() -> None:
    _, token = make_source()
    moment = "2026-11-01T10:00:00Z"
    answer = upload_raw(
        device(token), png(2), Kheish_Stream_Id="left", Kheish_Captured_At=moment, X_File_Name="shot.png"
    )
    assert answer.status_code == 201, answer.content
    row = Observation.objects.get()
    assert (row.stream_id, row.file_name, row.sha256) == ("left", "shot.png", row.asset.sha256)
    again = upload(device(token), png(2), stream_id="left", captured_at=moment, file_name="shot.png")
    assert (again.status_code, again["Idempotent-Replayed"]) == (200, "true")
    assert code_of(upload_raw(device(token), png(3), Kheish_Captured_At="noon")) == "invalid_request"


def test_the_same_upload_twice_is_one_observation() -> None:
    _, token = make_source()
    first, again = upload(device(token)), upload(device(token))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert Observation.objects.count() == 1


@pytest.mark.parametrize("change", [{"data": png(9)}, {"stream_id": "b"}, {"metadata": {"a": 1}}])
def test_a_key_names_one_upload(change: dict[str, Any]) -> None:
    _, token = make_source()
    first = upload(device(token)).json()
    other = upload(device(token), change.pop("data", b""), **change)
    assert (other.status_code, code_of(other)) == (409, "observation_conflict")
    assert other.json()["observation_id"] == first["observation_id"]


def test_keys_belong_to_their_source_and_equal_files_are_stored_once() -> None:
    for source_id in ("cam", "door"):
        _, token = make_source(source_id)
        path = f"/v1/observation-sources/{source_id}/observations"
        assert upload(device(token), path=path).status_code == 201
    assert (Observation.objects.count(), Asset.objects.count()) == (2, 1)


def test_a_key_is_needed() -> None:
    _, token = make_source()
    assert code_of(upload(device(token), key="")) == "observation_key_missing"
    assert upload(device(token), key="", idempotency_key="in-the-body").status_code == 201


def test_only_a_token_of_the_source_uploads() -> None:
    make_source()
    _, other = make_source("door")
    stranger = upload(APIClient())
    assert (stranger.status_code, code_of(stranger)) == (401, "unauthorized")
    assert stranger["WWW-Authenticate"].startswith("Bearer")
    for client in (make_client("admin"), device("ko_" + "x" * 43), device("kh_" + "x" * 43)):
        answer = upload(client)
        assert (answer.status_code, code_of(answer)) == (401, "invalid_token")
    foreign = upload(device(other))
    assert (foreign.status_code, code_of(foreign)) == (403, "observation_source_forbidden")
    assert not Observation.objects.exists()


@pytest.mark.parametrize(
    "path", ["/v1/runs", "/v1/status", PATH, "/v1/observation-sources", "/v1/observation-sources/cam"]
)
def test_an_upload_token_opens_nothing_else(path: str) -> None:
    _, token = make_source()
    assert code_of(device(token).get(path)) == "invalid_token"


def test_a_signed_in_person_does_not_upload(client: Any, django_user_model: Any) -> None:
    make_source()
    client.force_login(django_user_model.objects.create_superuser("root"))
    assert client.post(PATH, {}, content_type="application/json").status_code == 401


def test_a_disabled_source_takes_nothing_new() -> None:
    source, token = make_source()
    upload(device(token))
    sources.update(source.source_id, {"enabled": False}, expected=None)
    assert code_of(upload(device(token), png(2), key="k-2")) == "observation_source_disabled"
    assert upload(device(token)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "media_type", "data", "status"),
    [
        ("screen_snapshot", "text/plain", b"hello", 415),
        ("screen_snapshot", "image/png", b"no image", 400),
        ("screen_snapshot", "image/gif", b"GIF89a" + b"\0" * 20, 415),
        ("microphone_segment", "image/png", png(), 415),
        ("microphone_segment", "audio/x-wav", wav(), 201),
        ("text_snapshot", "application/pdf", b"%PDF-1.4", 415),
        ("text_snapshot", "text/markdown", b"# hello", 201),
        ("document", "text/plain", b"hello", 201),
        ("webcam_snapshot", "application/octet-stream", png(), 201),
    ],
)
def test_a_kind_sends_its_own_types(kind: str, media_type: str, data: bytes, status: int) -> None:
    _, token = make_source("cam", kind)
    answer = upload(device(token), data, media_type=media_type)
    assert answer.status_code == status, answer.content


def test_a_file_over_the_limit_is_refused(settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, max_asset_bytes=1024)
    _, token = make_source("cam", "text_snapshot")
    answer = upload(device(token), b"x" * 1025, media_type="text/plain")
    assert (answer.status_code, code_of(answer)) == (413, "asset_too_large")
    assert upload_raw(device(token), b"x" * 1025, "text/plain").status_code == 413
    assert upload_raw(device(token), b"x" * 1024, "text/plain").status_code == 201


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"stream_id": "../x"}, "invalid_request"),
        ({"colour": "red"}, "invalid_request"),
        ({"content_base64": "%%%"}, "asset_content_invalid"),
        ({"content_base64": ""}, "asset_content_invalid"),
        ({"metadata": {"a": "x" * 20_000}}, "metadata_too_large"),
    ],
)
def test_refused_bodies(fields: dict[str, Any], code: str) -> None:
    _, token = make_source()
    answer = upload(device(token), **fields)
    assert code_of(answer) == code, answer.content


def test_a_burst_is_refused_with_the_time_to_wait() -> None:
    _, token = make_source(burst_count=2, burst_seconds=60)
    client = device(token)
    assert [upload(client, png(n), key=f"k-{n}").status_code for n in (1, 2)] == [201, 201]
    refused = upload(client, png(3), key="k-3")
    assert (refused.status_code, code_of(refused)) == (429, "rate_limited")
    assert 55 <= int(refused["Retry-After"]) <= 60
    assert upload(client, png(2), key="k-2").status_code == 200  # a repeat is no news
    Observation.objects.filter(key="k-1").update(received_at=clock.now() - timedelta(seconds=61))
    assert upload(client, png(3), key="k-3").status_code == 201


def test_rotation_leaves_the_token_before_its_grace() -> None:
    _, first = make_source()
    admin = make_client("admin")
    answer = admin.post("/v1/observation-sources/cam/rotate-token", {"grace_period_ms": 60_000})
    assert answer.status_code == 200, answer.content
    second = answer.json()["token"]
    assert [upload(device(token)).status_code for token in (first, second)] == [201, 200]
    assert len(admin.get("/v1/observation-sources/cam").json()["tokens"]) == 2
    ObservationToken.objects.exclude(expires_at=None).update(expires_at=clock.now())
    assert [upload(device(token)).status_code for token in (first, second)] == [401, 200]


def test_rotation_without_grace_ends_the_token_at_once() -> None:
    _, first = make_source()
    second = make_client("admin").post("/v1/observation-sources/cam/rotate-token", {}).json()["token"]
    assert [upload(device(token)).status_code for token in (first, second)] == [401, 201]


def test_a_second_rotation_does_not_lengthen_the_grace() -> None:
    source, _ = make_source()
    source_tokens.rotate(source, principal="alice", grace_period_ms=1_000)
    source_tokens.rotate(source, principal="alice", grace_period_ms=3_600_000)
    soon = clock.now() + timedelta(seconds=2)
    assert ObservationToken.objects.filter(expires_at__lt=soon).count() == 1


def test_revocation_ends_every_token() -> None:
    source, first = make_source()
    source_tokens.rotate(source, principal="alice", grace_period_ms=60_000)
    admin = make_client("admin")
    path = "/v1/observation-sources/cam/revoke-token"
    assert [admin.post(path, {}).json()["revoked"] for _ in range(2)] == [2, 0]
    assert upload(device(first)).status_code == 401
    assert make_client("operator").post(path, {}).status_code == 403


def test_a_token_is_nowhere_but_in_its_answer() -> None:
    admin = make_client("admin")
    body = {"source_id": "cam", "kind": "screen_snapshot"}
    made = admin.post("/v1/observation-sources", body, headers={"Idempotency-Key": "once"})
    assert made.status_code == 201, made.content
    token = made.json()["token"]
    again = admin.post("/v1/observation-sources", body, headers={"Idempotency-Key": "once"})
    assert again.json()["token"] == token  # the first answer, which was stored sealed
    assert token not in admin.get("/v1/observation-sources/cam").content.decode()
    assert token not in str(ObservationToken.objects.values().get())
    answer = upload(device(token), metadata={"note": f"my token is {token}"})
    assert token not in answer.content.decode()
    assert token not in str(Observation.objects.values().get())

"""Assets over HTTP: stored, listed, read back, deleted."""

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kheish_site.lib import clock
from sessions_app.models import Asset, AssetBlob, Run
from sessions_app.services import runs
from sessions_app.services.runs import NewRun
from tests.factories import code_of, make_asset
from tests.sessions_app.api.rows import caller, make_route, make_session, stranger
from tests.support.files import pdf, picture, png_bomb

pytestmark = pytest.mark.django_db

BASE = "/v1/assets"
DESK = "/v1/sessions/desk/runs"


def envelope(
    data: bytes = b"a,b\n", file_name: str = "t.csv", media_type: str = "text/csv"
) -> dict[str, Any]:
    sent = base64.b64encode(data).decode()
    return {"file_name": file_name, "media_type": media_type, "content_base64": sent}


def hold(asset: Asset) -> Run:
    make_route(), make_session()
    return runs.submit("desk", NewRun(attachments=[{"asset_id": asset.asset_id}]), principal="alice")


def test_json_makes_an_asset_and_the_same_file_finds_it_again() -> None:
    client = caller(name="ann")
    answer = client.post(BASE, envelope())
    assert answer.status_code == 201
    view = answer.json()
    asset = Asset.objects.get()
    assert answer["Location"] == f"{BASE}/{asset.asset_id}"
    assert view == {
        "asset_id": asset.asset_id,
        "media_type": "text/csv",
        "file_name": "t.csv",
        "sha256": asset.sha256,
        "size_bytes": 4,
        "uri": f"{BASE}/{asset.asset_id}/raw",
        "text_uri": f"{BASE}/{asset.asset_id}/text",
        "text_sha256": asset.sha256,
        "text_size_bytes": 4,
        "created_by": "ann",
        "created_at": view["created_at"],
    }
    again = client.post(BASE, envelope(file_name="other.csv"))
    assert (again.status_code, again.json()) == (200, view)


def test_a_body_that_is_the_file() -> None:
    content = picture()
    answer = caller().generic(
        "POST", BASE, content, content_type="image/png", headers={"X-File-Name": "caf%C3%A9.png"}
    )
    assert answer.status_code == 201, answer.content
    view = answer.json()
    assert (view["file_name"], view["media_type"]) == ("café.png", "image/png")
    assert (view["image_width"], view["image_height"]) == (8, 6)
    assert bytes(AssetBlob.objects.get().content) == content


def test_a_repeated_key_gets_the_first_answer_whichever_way_it_is_sent() -> None:
    client, key = caller(), {"Idempotency-Key": "k1"}
    first = client.generic("POST", BASE, b"hello", content_type="text/plain", headers=key)
    again = client.generic("POST", BASE, b"hello", content_type="text/plain", headers=key)
    assert (again.status_code, again.json()) == (201, first.json())
    assert again["Idempotent-Replayed"] == "true"
    other = client.generic("POST", BASE, b"other", content_type="text/plain", headers=key)
    assert (other.status_code, code_of(other)) == (409, "idempotency_conflict")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (envelope() | {"content_base64": "a,b"}, 400, "asset_content_invalid"),
        (envelope() | {"content_base64": "YQ"}, 400, "asset_content_invalid"),
        (envelope(b"", "null"), 400, "asset_content_invalid"),
        (envelope() | {"size": 4}, 400, "invalid_request"),
        ({"file_name": "a"}, 400, "invalid_request"),
        (envelope(b"<html>", "a.html", "text/html"), 400, "asset_type_unsupported"),
        (envelope(picture(), "a.pdf", "application/pdf"), 400, "asset_type_mismatch"),
        (envelope(png_bomb(), "a.png", "image/png"), 413, "asset_image_too_large"),
    ],
)
def test_what_is_refused(body: dict[str, Any], status: int, code: str) -> None:
    answer = caller().post(BASE, body)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert not Asset.objects.exists()


def test_twelve_mebibytes_fit_and_more_does_not(settings: Any) -> None:
    limit = settings.KHEISH.max_asset_bytes
    assert limit == 12 * 1024 * 1024
    client = caller()
    assert client.post(BASE, envelope(b"x" * limit, "x.txt", "text/plain")).status_code == 201
    for answer in (
        client.post(BASE, envelope(b"x" * (limit + 1), "x.txt", "text/plain")),
        client.post(BASE, envelope(b"x" * (2 * limit), "x.txt", "text/plain")),
        client.generic("POST", BASE, b"x" * (limit + 1), content_type="text/plain"),
    ):
        assert answer.status_code == 413
        assert code_of(answer) in ("asset_too_large", "payload_too_large")


def test_who_may_do_what() -> None:
    asset = make_asset()
    one, viewer = f"{BASE}/{asset.asset_id}", caller("viewer")
    for path in (BASE, one, f"{one}/raw", f"{one}/text", f"{one}/references"):
        assert stranger().get(path).status_code == 401
    assert [viewer.get(path).status_code for path in (BASE, one, f"{one}/references")] == [200] * 3
    for role in ("viewer", "operator"):
        assert [caller(role).get(f"{one}/{part}").status_code for part in ("raw", "text")] == [403] * 2
    assert [caller("admin").get(f"{one}/{part}").status_code for part in ("raw", "text")] == [200] * 2
    assert viewer.post(BASE, envelope()).status_code == viewer.delete(one).status_code == 403
    assert caller("operator").post(f"{BASE}/gc", {}).status_code == 403


def test_nothing_is_found_under_an_unknown_id() -> None:
    client = caller("admin")
    for part in ("", "/raw", "/text", "/references"):
        answer = client.get(f"{BASE}/asset_none{part}")
        assert (answer.status_code, code_of(answer)) == (404, "asset_not_found")
    assert code_of(client.delete(f"{BASE}/asset_none")) == "asset_not_found"


def test_lists_are_narrowed() -> None:
    csv, note = make_asset(), make_asset(b"hi", "text/plain", "Note.txt")
    client = caller("viewer")

    def found(**query: str) -> list[str]:
        return [item["asset_id"] for item in client.get(BASE, query).json()["items"]]

    assert found() == [note.asset_id, csv.asset_id]
    assert found(media_type="text/csv") == found(sha256=csv.sha256) == [csv.asset_id]
    assert found(file_name="note") == [note.asset_id]
    assert client.get(BASE, {"owner": "x"}).status_code == 400


def test_raw_bytes_are_only_ever_an_attachment() -> None:
    asset = make_asset(b"<script>", "text/plain", 'a"b \u00e9%.txt')
    answer = caller("admin").get(f"{BASE}/{asset.asset_id}/raw")
    assert answer.content == b"<script>"
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Content-Disposition"] == (
        "attachment; filename=\"a_b __.txt\"; filename*=UTF-8''a%22b%20%C3%A9%25.txt"
    )
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer["Cache-Control"] == "no-store"
    AssetBlob.objects.update(content=b"changed")
    broken = caller("admin").get(f"{BASE}/{asset.asset_id}/raw")
    assert (broken.status_code, code_of(broken)) == (409, "asset_integrity_mismatch")


def test_the_text_of_a_document_is_shown_redacted() -> None:
    client = caller("admin")
    asset = make_asset(pdf("the key sk-abcdefghijklmnopqrstuvwx"), "application/pdf", "k.pdf")
    view = client.get(f"{BASE}/{asset.asset_id}/text").json()
    assert view["text"].strip() == "the key [redacted]" and view["truncated"] is False
    image = make_asset(picture(), "image/png", "dot.png")
    answer = client.get(f"{BASE}/{image.asset_id}/text")
    assert (answer.status_code, code_of(answer)) == (404, "asset_text_not_found")


def test_a_referenced_asset_stays() -> None:
    asset = make_asset()
    run, client, one = hold(asset), caller(), f"{BASE}/{asset.asset_id}"
    listed = client.get(f"{one}/references").json()
    assert (listed["hard_reference_count"], listed["soft_reference_count"]) == (1, 0)
    [reference] = listed["references"]
    assert (reference["domain"], reference["owner_id"], reference["parent_id"]) == ("run", run.run_id, "desk")
    for path in (one, f"{one}?dry_run=true"):
        answer = client.delete(path)
        assert (answer.status_code, code_of(answer)) == (409, "asset_delete_blocked")
        assert answer.json()["domain"] == "assets"


def test_deleting_tries_first_if_asked_to() -> None:
    asset, client = make_asset(), caller()
    one = f"{BASE}/{asset.asset_id}"
    assert client.delete(f"{one}?dry_run=true").json() == {
        "asset_id": asset.asset_id,
        "deleted": False,
        "dry_run": True,
    }
    assert client.delete(f"{one}?dry_run=perhaps").status_code == 400
    assert client.delete(one).json()["deleted"] is True
    assert client.delete(one).status_code == client.get(one).status_code == 404


def test_collecting_only_says_what_it_would_do_unless_told() -> None:
    asset, client = make_asset(), caller("admin")
    Asset.objects.update(touched_at=clock.now() - timedelta(days=40))
    named = client.post(f"{BASE}/gc", {})
    assert named.json() == {"dry_run": True, "asset_ids": [asset.asset_id], "count": 1, "size_bytes": 19}
    assert client.post(f"{BASE}/gc", {"dry_run": False}).json()["count"] == 1
    assert client.post(f"{BASE}/gc", {"dry_run": False}).json()["count"] == 0
    assert client.post(f"{BASE}/gc", {"dry_run": "no"}).status_code == 400


def test_an_input_with_files() -> None:
    make_route(), make_session()
    client, asset = caller(), make_asset()
    body = {"content": "sum up", "attachments": [{"asset_id": asset.asset_id}, envelope(b"x\n", "x.csv")]}
    view = client.post(DESK, body).json()
    assert [item["type"] for item in view["input_items"]] == ["text", "asset_reference", "asset_reference"]
    assert view["request"]["text_preview"].startswith("sum up [Attached file 'pods.csv'")
    items = [{"type": "text", "text": "a"}, {"type": "inline_asset", **envelope()}]
    assert client.post("/v1/sessions/desk/input", {"input_items": items}).status_code == 202


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"attachments": [{"asset_id": "asset_none"}]}, 404, "asset_not_found"),
        ({"attachments": [{}]}, 400, "invalid_request"),
        ({"attachments": [{"asset_id": "a", "file_name": "b"}]}, 400, "invalid_request"),
        ({"attachments": [{"asset_id": "a"}] * 11}, 400, "invalid_request"),
        ({"attachments": [envelope() | {"content_base64": "!"}]}, 400, "asset_content_invalid"),
        ({"attachments": [envelope(b"")]}, 400, "asset_content_invalid"),
        ({"attachments": [{"asset_id": "a"}], "input_items": [{"type": "text", "text": "b"}]}, 400,
         "input_ambiguous"),
        ({"input_items": [{"type": "inline_asset", "file_name": "a"}]}, 400, "invalid_request"),
        ({"input_items": [{"type": "text", "text": "b", "asset_id": "a"}]}, 400, "invalid_request"),
        ({"input_items": [{"type": "asset_reference", "asset_id": "a"}] * 11}, 400, "too_many_attachments"),
        ({"input_items": [{"type": "text", "text": "b"}] * 51}, 400, "invalid_request"),
    ],
)  # fmt: skip
def test_an_input_that_is_refused_makes_no_run(body: dict[str, Any], status: int, code: str) -> None:
    make_route(), make_session()
    answer = caller().post(DESK, body)
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert not Run.objects.exists() and not Asset.objects.exists()


def test_a_small_limit_is_what_the_endpoint_reads(settings: Any) -> None:
    settings.KHEISH = replace(settings.KHEISH, max_asset_bytes=1024)
    answer = caller().generic("POST", BASE, b"x" * 1025, content_type="text/plain")
    assert (answer.status_code, code_of(answer)) == (413, "payload_too_large")

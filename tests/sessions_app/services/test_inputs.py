"""Inputs with files: what is kept of them, and what a model reads."""

import base64
from typing import Any

import pytest

from kheish_site.lib.errors import KheishError
from kheish_site.lib.redaction import register_secret
from sessions_app.models import Asset, AssetReference, JournalEntry, Run
from sessions_app.services import assets, inputs, runs
from sessions_app.services.runs import NewRun
from tests.factories import make_asset, make_route, make_session
from tests.support.files import picture

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def desk() -> None:
    make_route(), make_session()


def inline(data: bytes, file_name: str = "note.txt", media_type: str = "text/plain") -> dict[str, Any]:
    sent = base64.b64encode(data).decode()
    return {"type": "inline_asset", "file_name": file_name, "media_type": media_type, "content_base64": sent}


def submit(**fields: Any) -> Run:
    return runs.submit("desk", NewRun(**fields), principal="alice")


def refusal(**fields: Any) -> str:
    with pytest.raises(KheishError) as error:
        submit(**fields)
    assert not Run.objects.exists() and not Asset.objects.exists()
    return error.value.error_code


def test_items_keep_their_order_and_the_run_keeps_references() -> None:
    picked = make_asset(picture(), "image/png", "dot.png")
    run = submit(
        input_items=[
            {"type": "text", "text": "first"},
            inline(b"the words"),
            {"type": "asset_reference", "asset_id": picked.asset_id},
            {"type": "text", "text": "last"},
        ]
    )
    note = Asset.objects.get(media_type="text/plain")
    assert [item["type"] for item in run.input_items] == [
        "text",
        "asset_reference",
        "asset_reference",
        "text",
    ]
    assert run.input_items[1] == {
        "type": "asset_reference",
        "asset_id": note.asset_id,
        "file_name": "note.txt",
        "media_type": "text/plain",
        "size_bytes": 9,
    }
    assert run.input_message["content"] == (
        f"first\n\n[Attached file 'note.txt', text/plain, 9 bytes, {note.asset_id}]\nthe words\n"
        f"[End of {note.asset_id}]\n\n"
        f"[Attached file 'dot.png', image/png, 8 x 6 pixels, {picked.asset_id}]\n\nlast"
    )
    assert run.input_message["parts"] == [
        {"type": "image", "asset_id": picked.asset_id, "media_type": "image/png", "sha256": picked.sha256}
    ]
    held = AssetReference.objects.filter(domain="run", owner_id=run.run_id, parent_id="desk", hard=True)
    assert {row.asset for row in held} == {note, picked}


def test_the_same_file_twice_is_stored_and_referred_to_once() -> None:
    sent = {name: value for name, value in inline(b"twice").items() if name != "type"}
    run = submit(content="see", attachments=[sent, sent])
    assert Asset.objects.count() == AssetReference.objects.count() == 1
    assert len(run.input_items) == 3


def test_a_file_alone_is_an_input() -> None:
    run = submit(attachments=[{"asset_id": make_asset().asset_id}])
    assert [item["type"] for item in run.input_items] == ["asset_reference"]
    assert runs.text_preview(run).startswith("[Attached file 'pods.csv'")


def test_a_plain_text_makes_no_parts_and_no_references() -> None:
    run = submit(content="hello")
    assert run.input_message == {"role": "user", "content": "hello"}
    assert not AssetReference.objects.exists()


def test_a_long_document_is_clipped_and_says_so() -> None:
    asset = make_asset(b"x" * 100_000, "text/plain", "long.txt")
    content = submit(attachments=[{"asset_id": asset.asset_id}]).input_message["content"]
    assert "the first 64000 of 100000 characters" in content
    assert len(content) < 64_400
    assert assets.text(asset) == "x" * 100_000


def test_many_long_documents_share_a_room() -> None:
    ids = [make_asset(bytes([97 + n]) * 70_000, "text/plain").asset_id for n in range(6)]
    content = submit(attachments=[{"asset_id": asset_id} for asset_id in ids]).input_message["content"]
    assert len(content) < inputs.LONGEST_DOCUMENTS + 2_000
    assert all(letter * 60_000 in content for letter in "abcd")
    assert ids[5] in content and "ffff" not in content


def test_a_picture_is_named_as_a_model_is_sent_it() -> None:
    asset = make_asset(picture("GIF", (3_000, 2)), "image/gif", "wide.gif")
    (part,) = submit(attachments=[{"asset_id": asset.asset_id}]).input_message["parts"]
    assert (part["media_type"], part["sha256"]) == ("image/jpeg", asset.view_sha256)


def test_secrets_in_a_file_are_masked_in_what_the_run_holds() -> None:
    register_secret("test", "canary-in-a-file-77")
    run = submit(
        attachments=[{"asset_id": make_asset(b"key canary-in-a-file-77 end", "text/plain").asset_id}]
    )
    assert "canary" not in run.input_message["content"]
    assert "[redacted] end" in run.input_message["content"]
    assert not JournalEntry.objects.filter(payload__icontains="canary-in-a-file").exists()


def test_what_cannot_be_accepted_leaves_nothing_behind() -> None:
    asset = {"asset_id": "asset_none"}
    items = [{"type": "text", "text": "x"}]
    assert refusal(content="a", input_items=items) == "input_ambiguous"
    assert refusal(attachments=[asset], input_items=items) == "input_ambiguous"
    assert refusal(input_items=[{"type": "board_reference", "board_id": "b"}]) == "input_item_unsupported"
    assert refusal(content="a", attachments=[asset]) == "asset_not_found"
    assert refusal(input_items=[{"type": "asset_reference"}]) == "asset_not_found"
    assert refusal(input_items=[{"type": "inline_asset"}]) == "asset_content_invalid"
    assert refusal(input_items=[inline(b"x") | {"content_base64": "?"}]) == "asset_content_invalid"
    assert refusal(input_items=[inline(b"x")] * 11) == "too_many_attachments"
    assert refusal(input_items=[inline(b"x"), {"type": "asset_reference", **asset}]) == "asset_not_found"
    assert refusal(content="  ") == "input_empty"


def test_files_opened_before_the_transaction_are_not_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = NewRun(input_items=[inline(b"early"), {"type": "text", "text": "go"}])
    ready = runs.prepare(sent)
    monkeypatch.setattr(assets, "prepare", None)
    run = runs.submit("desk", ready, principal="alice")
    assert "early" in run.input_message["content"]


def test_a_file_whose_bytes_changed_is_not_given_to_a_run() -> None:
    from sessions_app.models import AssetBlob

    asset = make_asset()
    AssetBlob.objects.update(content=b"changed")
    with pytest.raises(KheishError) as error:
        submit(attachments=[{"asset_id": asset.asset_id}])
    assert error.value.error_code == "asset_integrity_mismatch"
    assert not Run.objects.exists()

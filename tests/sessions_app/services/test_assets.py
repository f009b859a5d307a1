"""Assets: stored once, verified when read, kept while something needs them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from kheish_site.lib import clock
from kheish_site.lib.errors import KheishError
from kheish_site.lib.transactions import write
from sessions_app.models import Asset, AssetBlob, AssetReference
from sessions_app.services import assets, runs
from tests.factories import make_asset, make_route, make_session
from tests.support.engine import race
from tests.support.files import pdf, picture

pytestmark = pytest.mark.django_db(transaction=True)


def code_of(error: pytest.ExceptionInfo[KheishError]) -> str:
    return error.value.error_code


def attach(*asset_ids: str, text: str = "look") -> runs.NewRun:
    return runs.NewRun(content=text, attachments=[{"asset_id": asset_id} for asset_id in asset_ids])


def age(asset: Asset, days: float) -> None:
    Asset.objects.filter(pk=asset.pk).update(touched_at=clock.now() - timedelta(days=days))


def test_the_same_content_of_the_same_type_is_one_asset() -> None:
    first, second = make_asset(file_name="a.csv"), make_asset(file_name="b.csv")
    other = make_asset(media_type="text/plain")
    assert first == second and first.file_name == "a.csv"
    assert second.touched_at > first.touched_at
    assert other.sha256 == first.sha256 and other != first
    assert AssetBlob.objects.count() == 1  # the text of a UTF-8 file is the file


def test_a_text_is_read_whatever_its_encoding() -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        asset = make_asset("Größe\n".encode(encoding), "text/plain", f"{encoding}.txt")
        assert assets.text(asset) == "Größe\n"
        assert assets.read(asset) == "Größe\n".encode(encoding)


def test_a_document_has_the_text_of_its_pages() -> None:
    asset = make_asset(pdf("first page", "second page"), "application/pdf", "report.pdf")
    assert (assets.text(asset) or "").split() == ["first", "page", "second", "page"]
    assert asset.text_note == "" and asset.text_size_bytes > 0


def test_a_large_image_is_made_smaller_for_models_and_kept_as_it_was() -> None:
    content = picture("JPEG", (3000, 1500))
    asset = make_asset(content, "image/jpeg", "photo.jpg")
    assert (asset.image_width, asset.image_height) == (3000, 1500)
    assert assets.read(asset) == content
    media_type, view = assets.image_for_model(asset)
    assert media_type == "image/jpeg" and view != content
    small = make_asset(view, media_type, "small.jpg")
    assert (small.image_width, small.image_height) == (2048, 1024)


def test_a_small_image_goes_as_it_is_and_a_clear_one_stays_clear() -> None:
    content = picture()
    assert assets.image_for_model(make_asset(content, "image/png", "dot.png")) == ("image/png", content)
    clear = make_asset(picture("PNG", (2500, 20), mode="RGBA"), "image/png", "clear.png")
    assert assets.image_for_model(clear)[0] == "image/png"


def test_changed_bytes_are_not_served() -> None:
    asset = make_asset()
    AssetBlob.objects.update(content=b"something else")
    with pytest.raises(KheishError) as error:
        assets.read(asset)
    assert code_of(error) == "asset_integrity_mismatch"


def test_a_referenced_asset_cannot_be_deleted() -> None:
    make_route()
    session, asset = make_session(), make_asset()
    run = runs.submit("desk", attach(asset.asset_id), principal="alice")
    with pytest.raises(KheishError) as error:
        assets.delete(asset.asset_id, principal="alice", dry_run=True)
    assert code_of(error) == "asset_delete_blocked"
    assert error.value.extra["references"] == [{"domain": "run", "owner_id": run.run_id}]
    with write():
        assert assets.release("run", [run.run_id]) == 1
    assets.delete(asset.asset_id, principal="alice", dry_run=True)
    assert assets.get(asset.asset_id)
    assets.delete(asset.asset_id, principal="alice")
    assert not AssetBlob.objects.exists()
    assert Asset.objects.get().deleted_by == "alice"
    with pytest.raises(KheishError) as gone:
        runs.submit(session.session_id, attach(asset.asset_id), principal="alice")
    assert code_of(gone) == "asset_not_found"


def test_a_soft_reference_does_not_keep_an_asset() -> None:
    asset = make_asset()
    AssetReference.objects.create(
        asset=asset, domain="note", owner_id="n1", role="x", hard=False, created_at=clock.now()
    )
    assert assets.count_references(asset) == (0, 1)
    assets.delete(asset.asset_id, principal="alice")
    assert not AssetReference.objects.exists()


def test_deleted_content_can_come_again_and_shared_bytes_stay() -> None:
    first, twin = make_asset(), make_asset(media_type="text/plain")
    assets.delete(first.asset_id, principal="alice")
    assert assets.read(twin)
    again = make_asset()
    assert again.asset_id != first.asset_id and assets.read(again)


def test_what_nothing_refers_to_is_forgotten_in_time(settings: Any) -> None:
    make_route(), make_session()
    old, used, fresh = make_asset(b"old"), make_asset(b"used"), make_asset(b"fresh")
    runs.submit("desk", attach(used.asset_id), principal="alice")
    age(old, 31), age(used, 31), age(fresh, 29)
    assert assets.gc(dry_run=True).asset_ids == [old.asset_id]
    assert assets.get(old.asset_id)
    assert assets.gc(dry_run=False) == assets.Collected(asset_ids=[old.asset_id], size_bytes=3)
    assert set(assets.everything()) == {used, fresh}
    settings.KHEISH = replace(settings.KHEISH, keep_unused_assets_days=0)
    age(fresh, 1000)
    assert assets.gc(dry_run=False).asset_ids == []


def test_storing_again_makes_it_young() -> None:
    asset = make_asset()
    age(asset, 31)
    make_asset()
    assert assets.gc(dry_run=True).asset_ids == []


def test_racing_uploads_of_one_file_make_one_asset() -> None:
    results = race(8, lambda number: make_asset(b"the same", "text/plain", f"{number}.txt"))
    assert len({asset.asset_id for asset in results}) == 1
    assert Asset.objects.count() == AssetBlob.objects.count() == 1


def test_an_asset_is_either_deleted_or_referred_to() -> None:
    make_route(), make_session()
    for number in range(4):
        asset = make_asset(f"file {number}".encode(), "text/plain", "f.txt")

        def either(turn: int, asset_id: str = asset.asset_id) -> Any:
            if turn % 2:
                return runs.submit("desk", attach(asset_id), principal="alice")
            return assets.delete(asset_id, principal="bob")

        race(6, either)
        asset.refresh_from_db()
        referred = asset.references.exists()
        assert referred == (asset.deleted_at is None)
        assert not referred or assets.read(asset)

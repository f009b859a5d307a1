"""What is kept of a source: so long, so many, so large, and the bytes only while something holds them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors_app.models import Observation
from connectors_app.services.observations import retention, sources
from connectors_app.services.observations.uploads import ObservationConflict
from kheish_site.lib import clock
from sessions_app.models import Asset, AssetReference
from sessions_app.services import assets
from tests.connectors_app.observations.rows import make_source, make_text_source, png, see
from tests.factories import code_of, make_client

pytestmark = pytest.mark.django_db


def age(row: Observation, **ago: Any) -> None:
    Observation.objects.filter(pk=row.pk).update(received_at=clock.now() - timedelta(**ago))


def kept() -> list[int]:
    return list(Observation.objects.filter(purged_at=None).order_by("pk").values_list("pk", flat=True))


def test_by_age_from_receipt() -> None:
    source, _ = make_source(retention_days=7)
    old = see(source, captured_at=clock.now())
    new = see(source, captured_at=clock.now() - timedelta(days=30))
    age(old, days=7, seconds=1)
    assert retention.purge() == 1
    assert kept() == [new.pk]
    old.refresh_from_db()
    assert (old.purge_reason, old.asset, old.metadata) == ("age", None, {})


def test_by_count_the_newest_stay() -> None:
    source, _ = make_source(retention_count=2)
    rows = [see(source) for _ in range(4)]
    assert retention.purge() == 2
    assert kept() == [rows[2].pk, rows[3].pk]
    assert Observation.objects.filter(purge_reason="count").count() == 2


def test_by_bytes_the_oldest_go() -> None:
    source = make_text_source(retention_bytes=25)
    rows = [see(source, "x" * size) for size in (5, 11, 12, 8)]
    assert retention.purge() == 2
    assert kept() == [rows[2].pk, rows[3].pk]
    assert set(Observation.objects.exclude(purged_at=None).values_list("purge_reason", flat=True)) == {
        "bytes"
    }


def test_each_source_has_its_own_bounds() -> None:
    small, large = make_text_source("small", retention_count=1), make_text_source("large")
    rows = [see(source, f"{n}") for source in (small, large) for n in range(3)]
    retention.purge()
    assert kept() == [rows[2].pk, *(row.pk for row in rows[3:])]


def test_the_bytes_go_when_nothing_holds_them() -> None:
    one, two = make_source("one", retention_count=1)[0], make_source("two")[0]
    shared, mine = see(one, png(1)), see(one, png(2))
    see(one, png(3))
    see(two, png(1))
    retention.purge()
    Asset.objects.update(touched_at=clock.now() - timedelta(days=3_650))
    assert assets.gc(dry_run=False).asset_ids == [mine.asset.asset_id]  # type: ignore[union-attr]
    assert assets.read(shared.asset) == png(1)  # type: ignore[arg-type]  # the other source holds it


def test_a_held_asset_is_not_deleted() -> None:
    row = see(make_source()[0])
    assert row.asset is not None
    answer = make_client("admin").delete(f"/v1/assets/{row.asset.asset_id}")
    assert code_of(answer) == "asset_delete_blocked"


def test_a_purged_upload_is_still_recognised_until_it_is_forgotten(settings: Any) -> None:
    source = make_text_source(retention_count=1)
    first = see(source, "a", key="same")
    see(source, "b")
    retention.purge()
    assert see(source, "a", key="same").pk == first.pk
    with pytest.raises(ObservationConflict):
        see(source, "c", key="same")
    settings.KHEISH = replace(settings.KHEISH, keep_purged_observations_days=30)
    Observation.objects.filter(pk=first.pk).update(purged_at=clock.now() - timedelta(days=31))
    assert retention.purge() == 1
    assert see(source, "c", key="same").pk != first.pk


def test_lists_leave_purged_ones_out_unless_asked() -> None:
    source = make_text_source(retention_count=1)
    see(source), see(source)
    retention.purge()
    viewer, path = make_client("viewer"), "/v1/observation-sources/notes/observations"
    assert len(viewer.get(path).json()["items"]) == 1
    items = viewer.get(path, {"include_purged": "true"}).json()["items"]
    assert [item.get("purge_reason") for item in items] == [None, "count"]


def test_an_admin_purges_early_where_the_source_allows_it() -> None:
    row = see(make_text_source())
    admin, path = make_client("admin"), f"/v1/observations/{row.observation_id}"
    assert code_of(admin.delete(path)) == "observation_purge_refused"
    assert code_of(make_client("operator").delete(path)) == "insufficient_access"
    sources.update("notes", {"allow_raw_purge": True}, expected=None)
    first, again = admin.delete(path), admin.delete(path)
    assert (first.status_code, first.json()["purge_reason"]) == (200, "request")
    assert again.json() == first.json()
    assert not AssetReference.objects.exists()
    assert code_of(admin.delete("/v1/observations/obs_x")) == "observation_not_found"


def test_a_deleted_source_lets_go_of_its_files() -> None:
    see(make_text_source())
    sources.delete("notes", expected=None)
    assert not AssetReference.objects.exists() and not Observation.objects.exists()

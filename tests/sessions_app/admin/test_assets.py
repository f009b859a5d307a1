"""The pages of files: what they are and who uses them, never what is in them."""

import pytest
from django.urls import reverse

from kheish_site.lib.redaction import register_secret
from sessions_app.admin import addresses
from sessions_app.models import Asset, AssetBlob, AssetReference, Run
from sessions_app.services import runs, sessions
from tests.factories import make_asset, make_route, make_session
from tests.sessions_app.admin.conftest import Desk, call, drive

pytestmark = pytest.mark.django_db(transaction=True)


def page(model, what: str, *args: object) -> str:  # type: ignore[no-untyped-def]
    return reverse(f"admin:sessions_app_{model._meta.model_name}_{what}", args=args)


@pytest.fixture
def used() -> Asset:
    make_route(), make_session()
    asset = make_asset(b"words of the file", "text/plain", "words.txt")
    new = runs.NewRun(content="x", attachments=[{"asset_id": asset.asset_id}])
    runs.submit("desk", new, principal="alice")
    return asset


def test_pages_tell_of_a_file_and_do_not_show_it(desk: Desk, used: Asset) -> None:
    viewer = desk("viewer")
    of_asset = viewer.get(page(Asset, "change", used.asset_id)).content.decode()
    assert "words.txt" in of_asset and addresses.of(Run.objects.get()) in of_asset
    of_blob = viewer.get(page(AssetBlob, "change", used.sha256)).content.decode()
    assert used.sha256 in of_blob
    of_reference = viewer.get(addresses.of(AssetReference.objects.get())).content.decode()
    assert addresses.of(used) in of_reference
    lists = [viewer.get(page(model, "changelist")).content.decode() for model in (Asset, AssetBlob)]
    assert not any("words of the file" in text for text in (of_asset, of_blob, *lists))
    assert "/do/delete/" not in of_asset
    assert "/do/delete/" in desk("operator").get(addresses.of(used)).content.decode()


def test_deleting_asks_and_says_why_it_was_refused(desk: Desk, used: Asset) -> None:
    free = make_asset()
    operator = desk("operator")
    address = addresses.of_verb(free, "delete")
    assert "pods.csv" in operator.get(addresses.of(free)).content.decode()
    assert Asset.objects.filter(deleted_at=None).count() == 2
    operator.post(address, {"confirmed": "1"})
    free.refresh_from_db()
    assert free.deleted_by == "operator"
    refused = operator.post(addresses.of_verb(used, "delete"), {"confirmed": "1"}).content.decode()
    assert "still use this asset" in refused
    assert desk("viewer").post(address, {"confirmed": "1"}).status_code == 403


def test_a_secret_in_a_name_is_masked(desk: Desk) -> None:
    asset = make_asset(b"x", "text/plain", "name.txt")
    register_secret("test", "canary-in-a-name")
    Asset.objects.update(file_name="canary-in-a-name.txt")
    assert "canary" not in desk("viewer").get(addresses.of(asset)).content.decode()


def test_the_page_of_a_run_names_the_files_it_sent(desk: Desk) -> None:
    (sessions.workspace(make_session("desk")) / "report.md").write_text("# All is well")
    emit = call("emit_output", parts=[{"text": "a part"}], attachments=[{"path": "report.md"}])
    run = drive({"tool_calls": [emit]}, {"text": "end"})
    shown = desk("viewer").get(page(Run, "change", run.run_id)).content.decode()
    link = f'<a href="{addresses.of(Asset.objects.get())}">report.md</a>'
    assert f"{link}, text/markdown, 13 bytes" in shown
    assert "a part" in shown

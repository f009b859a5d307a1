"""The files of a delivery: for the sidecar that delivers it, while it is on its way, and for nobody else."""

from typing import Any

import pytest

from connectors_app.models import Delivery
from connectors_app.services.deliveries import enqueue
from kheish_site.lib.transactions import locked, write
from sessions_app.models import Session
from sessions_app.services import assets
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.rows import TOKEN, sender
from tests.factories import code_of, make_session

pytestmark = pytest.mark.django_db


def make_delivery(*asset_ids: str, connector: str = "mail") -> Delivery:
    target = {"plugin": "external", "address": {"connector": connector, "route": "r-1"}}
    session = Session.objects.filter(session_id="desk").first() or make_session("desk")
    with write():
        locked(Session.objects.filter(pk=session.pk)).first()
        (made,) = enqueue(
            session, None, targets=[target], key=f"k-{connector}", content="done", attachments=asset_ids
        )
    return made


def make_asset(text: bytes = b"abc\n") -> str:
    return assets.store(text, media_type="text/plain", file_name="a b.txt", principal="alice").asset_id


def read(delivery: Delivery, asset_id: str, *, name: str = "mail", token: str = TOKEN) -> Any:
    address = f"/v1/connectors/external/{name}/deliveries/{delivery.delivery_id}/assets/{asset_id}/raw"
    return sender(token).get(address)


def test_the_sidecar_reads_what_it_delivers() -> None:
    make_external()
    asset_id = make_asset()
    answer = read(make_delivery(asset_id), asset_id)
    assert answer.status_code == 200
    assert answer.content == b"abc\n"
    assert answer["Content-Type"].startswith("text/plain")
    assert answer["Content-Disposition"] == "attachment; filename*=UTF-8''a%20b.txt"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_only_with_the_shared_token_even_where_events_need_none() -> None:
    make_external(allow_unauthenticated_ingress=True)
    asset_id = make_asset()
    delivery = make_delivery(asset_id)
    for token in ("", "wrong"):
        assert code_of(read(delivery, asset_id, token=token)) == "ingress_unauthorized"


@pytest.mark.parametrize("status", ["delivered", "dead_lettered", "unknown"])
def test_not_once_it_is_settled(status: str) -> None:
    make_external()
    asset_id = make_asset()
    delivery = make_delivery(asset_id)
    Delivery.objects.update(status=status)
    assert code_of(read(delivery, asset_id)) == "delivery_asset_not_found"


def test_not_what_the_delivery_does_not_name_nor_what_another_connector_delivers() -> None:
    make_external()
    make_external("other")
    asset_id, stranger = make_asset(), make_asset(b"secret\n")
    mine, other = make_delivery(asset_id), make_delivery(stranger, connector="other")
    assert code_of(read(mine, stranger)) == "delivery_asset_not_found"
    assert code_of(read(other, stranger)) == "delivery_asset_not_found"
    assert read(other, stranger, name="other").status_code == 200
    assert code_of(read(mine, asset_id, name="nowhere")) == "connector_not_found"

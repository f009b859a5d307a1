"""The protocol as docs/connectors.md writes it down: its examples are what the service reads and sends."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors_app.kinds.external import protocol
from connectors_app.kinds.external.events import Event
from connectors_app.kinds.external.sender import ExternalSender
from connectors_app.services.contracts import Attachment, Parcel
from tests.connectors_app.kinds.external.rows import make_external, push
from tests.support.sidecar import FakeSidecar, fake_sidecar

pytestmark = pytest.mark.django_db(transaction=True)
DOCUMENT = Path(__file__).parents[4] / "docs/connectors.md"
SECTION = DOCUMENT.read_text().partition("### What a sidecar says and is told")[2].partition("\n## ")[0]
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", SECTION, re.DOTALL)]
MANIFEST, HEALTH, EVENT, ACCEPTED, DELIVERY, COMMITTED = EXAMPLES


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSidecar]:
    """A sidecar that answers what the document says."""
    with fake_sidecar() as server:
        monkeypatch.setattr(server, "said", {"/manifest": MANIFEST, "/health": HEALTH}.__getitem__)
        server.answer = (200, COMMITTED, {})
        make_external(base_url=server.url, allow_private_network=True)
        yield server


def test_manifest_and_health(sidecar: FakeSidecar) -> None:
    asked = protocol.Sidecar(name="mail", base_url=sidecar.url, token="", allow_private=True)
    found = protocol.fetch_manifest(asked)
    assert found.as_dict() == {**MANIFEST, "experimental": False}
    assert protocol.fetch_health(asked) == (found.instance_id, "ready")


def test_an_event_and_its_answer() -> None:
    make_external()
    answer = push(EVENT)
    assert answer.status_code == 200
    said: dict[str, Any] = answer.json()
    assert said.keys() == ACCEPTED.keys(), said
    assert (said["event_id"], said["status"]) == (ACCEPTED["event_id"], ACCEPTED["status"])


@pytest.mark.usefixtures("sidecar")
def test_a_delivery_and_its_answer(sidecar: FakeSidecar) -> None:
    text, file = DELIVERY["parts"]
    parcel = Parcel(
        delivery_id=DELIVERY["delivery_id"],
        attempt=DELIVERY["attempt"],
        idempotency_key=f"kheish:{DELIVERY['delivery_id']}",
        address={"connector": "mail", "route": DELIVERY["reply_route"]},
        run_id="run_1",
        content=DELIVERY["content"],
        parts=({"text": text["text"]},),
        attachments=(
            Attachment(
                asset_id=file["id"],
                media_type=file["media_type"],
                file_name=file["file_name"],
                sha256=file["sha256"],
                size_bytes=file["byte_length"],
                read=lambda: b"",
            ),
        ),
        metadata=DELIVERY["metadata"],
        **DELIVERY["conversation"],
    )
    assert ExternalSender().send(parcel).detail == {"detail": COMMITTED["detail"]}
    assert sidecar.deliveries == [DELIVERY]


def test_no_member_is_forgotten() -> None:
    told = set(re.findall(r"[`\"](\w+)[`\"]", SECTION))
    members = {*Event().fields, *protocol._CAPABILITIES, *protocol._STATUSES}
    assert members - told == set()

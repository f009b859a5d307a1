"""Deliveries to a sidecar: what is sent, and what each answer means."""

from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from connectors_app.kinds.external.protocol import MANIFESTS
from connectors_app.kinds.external.sender import ExternalSender
from connectors_app.models import Connector, SidecarState
from connectors_app.services import connectors, handles
from connectors_app.services.contracts import Ambiguous, Attachment, Parcel, Refused, RetryLater, Sent
from kheish_site.lib import clock
from kheish_site.lib.errors import NotFound
from kheish_site.testing.ports import free_port
from tests.connectors_app.kinds.external.rows import make_external
from tests.connectors_app.rows import TOKEN
from tests.support.sidecar import FakeSidecar, fake_sidecar

pytestmark = pytest.mark.django_db(transaction=True)
SENDER = ExternalSender()
ADDRESS = {"connector": "mail", "route": "r-1"}
FILE = Attachment(
    asset_id="asset_1",
    media_type="text/plain",
    file_name="a.txt",
    sha256="0" * 64,
    size_bytes=3,
    read=lambda: b"abc",
)


@pytest.fixture
def sidecar() -> Iterator[FakeSidecar]:
    with fake_sidecar() as server:
        yield server


@pytest.fixture
def connector(sidecar: FakeSidecar) -> Connector:
    return make_external(base_url=sidecar.url + "/", allow_private_network=True)


def make_parcel(**fields: Any) -> Parcel:
    given: dict[str, Any] = {
        "delivery_id": "delivery_1",
        "attempt": 2,
        "idempotency_key": "kheish:delivery_1",
        "address": ADDRESS,
        "session_id": "desk",
        "thread_id": "t-1",
        "run_id": "run_1",
        "content": "done",
    }
    return Parcel(**(given | fields))


def send(**fields: Any) -> Any:
    """What came of one attempt: the receipt or the failure."""
    try:
        return SENDER.send(make_parcel(**fields))
    except (Refused, RetryLater, Ambiguous) as failure:
        return failure


@pytest.mark.usefixtures("connector")
def test_what_is_sent_is_what_the_protocol_says(sidecar: FakeSidecar) -> None:
    texts = ({"text": "one"}, {"text": "two"})
    assert isinstance(send(parts=texts, attachments=(FILE,), metadata={"a": 1}), Sent)
    (body,), (headers,) = sidecar.deliveries, sidecar.headers
    assert body == {
        "protocol_version": 1,
        "delivery_id": "delivery_1",
        "attempt": 2,
        "reply_route": "r-1",
        "conversation": {"session_id": "desk", "thread_id": "t-1"},
        "content": "done",
        "parts": [
            {"type": "text", "text": "one"},
            {"type": "text", "text": "two"},
            {
                "type": "attachment",
                "id": "asset_1",
                "media_type": "text/plain",
                "file_name": "a.txt",
                "sha256": "0" * 64,
                "byte_length": 3,
                "download_path": "/v1/connectors/external/mail/deliveries/delivery_1/assets/asset_1/raw",
            },
        ],
        "artifacts": [],
        "metadata": {"a": 1},
    }
    assert headers["idempotency-key"] == "kheish:delivery_1"
    assert headers["x-kheish-external-protocol-version"] == "1"
    assert headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.usefixtures("connector")
@pytest.mark.parametrize(
    ("answer", "kind", "error_class"),
    [
        ((200, {"status": "committed", "detail": "<id@x>"}), Sent, ""),
        ((202, {"status": "committed"}), Sent, ""),
        ((200, {"status": "retryable_error", "detail": "busy"}), RetryLater, "status"),
        ((200, {"status": "terminal_error"}), Refused, "terminal"),
        ((500, {"status": "terminal_error"}), Refused, "terminal"),
        ((400, {"status": "retryable_error"}), RetryLater, "status"),
        ((200, {"status": "done"}), Ambiguous, "decode"),
        ((200, b"ok"), Ambiguous, "decode"),
        ((200, b"[]"), Ambiguous, "decode"),
        ((200, b'{"status": "committed", "pad": "' + b"x" * 65_536 + b'"}'), Ambiguous, "decode"),
        ((500, {"status": "committed"}), RetryLater, "status"),
        ((400, {"status": "committed"}), Refused, "status"),
        ((404, b""), Refused, "status"),
        ((302, b""), Refused, "status"),
        ((502, b"<html>"), RetryLater, "status"),
        ((503, b""), RetryLater, "status"),
        ((429, b""), RetryLater, "rate_limited"),
    ],
)
def test_what_an_answer_means(sidecar: FakeSidecar, answer: Any, kind: type, error_class: str) -> None:
    sidecar.answer = (*answer, {})
    outcome = send()
    assert type(outcome) is kind, outcome
    assert getattr(outcome, "error_class", "") == error_class


@pytest.mark.usefixtures("connector")
@pytest.mark.parametrize(
    ("status", "said", "seconds"),
    [(429, "", 1.0), (429, "7", 7.0), (429, "99999", 3600.0), (503, "5", 5.0), (503, "", None)],
)
def test_how_long_to_wait(sidecar: FakeSidecar, status: int, said: str, seconds: float | None) -> None:
    sidecar.answer = (status, b"", {"Retry-After": said} if said else {})
    assert send().retry_after_seconds == seconds


@pytest.mark.usefixtures("connector")
def test_a_date_says_how_long_to_wait(sidecar: FakeSidecar) -> None:
    then = format_datetime(clock.now() + timedelta(seconds=120), usegmt=True)
    sidecar.answer = (429, b"", {"Retry-After": then})
    assert 60 < send().retry_after_seconds <= 120


def test_a_request_that_left_is_ambiguous_and_one_that_did_not_is_not(
    sidecar: FakeSidecar, connector: Connector
) -> None:
    sidecar.hang_up = True
    outcome = send()
    assert isinstance(outcome, Ambiguous)
    MANIFESTS.forget(connector)
    make_external(base_url=f"http://127.0.0.1:{free_port()}", allow_private_network=True)
    assert isinstance(outcome := send(), RetryLater)
    assert outcome.error_class == "connect"


@pytest.mark.usefixtures("connector")
def test_keys_are_honoured_unless_the_manifest_denies_it(sidecar: FakeSidecar) -> None:
    assert not SENDER.honours_keys(ADDRESS)  # nobody has seen it yet
    send()
    assert SENDER.honours_keys(ADDRESS)
    assert SidecarState.objects.get().instance_id == "fake-1"
    sidecar.capabilities = {"idempotent": False}
    changed = make_external()  # another definition asks again
    make_external(base_url=sidecar.url, allow_private_network=True)
    assert changed.revision == 2
    sidecar.answer = (500, b"", {})
    assert isinstance(send(), Ambiguous)
    assert not SENDER.honours_keys(ADDRESS)
    sidecar.answer = (503, b"", {})
    assert isinstance(send(), RetryLater)
    assert not SENDER.honours_keys({"connector": "nowhere", "route": "x"})


@pytest.mark.usefixtures("connector")
def test_the_manifest_is_not_asked_for_each_time(sidecar: FakeSidecar) -> None:
    for _ in range(3):
        send()
    assert sidecar.manifests == 1


def test_attachments_need_a_sidecar_that_takes_and_can_fetch_them(sidecar: FakeSidecar) -> None:
    make_external(base_url=sidecar.url, allow_private_network=True)
    sidecar.capabilities = {"attachments_out": False}
    assert "no attachments" in str(send(attachments=(FILE,)))
    unlocked = {"allow_unauthenticated_ingress": True}
    connectors.put("external", "mail", unlocked, {"shared_token": None}, principal="a")
    sidecar.capabilities = {}
    assert "shared_token" in str(send(attachments=(FILE,)))
    assert sidecar.deliveries == []
    assert isinstance(send(), Sent)
    assert "authorization" not in sidecar.headers[0]


@pytest.mark.parametrize("capabilities", [[], {"idempotent": "yes"}])
def test_a_manifest_that_breaks_the_protocol_holds_deliveries_back(
    sidecar: FakeSidecar, connector: Connector, capabilities: Any
) -> None:
    sidecar.capabilities = capabilities
    assert isinstance(send(), RetryLater)
    assert sidecar.deliveries == []


def test_an_address_that_is_not_public_is_never_reached(sidecar: FakeSidecar) -> None:
    port = sidecar.url.rpartition(":")[2]
    make_external(base_url=f"http://nowhere.invalid:{port}")
    assert isinstance(send(), RetryLater)  # the name is unknown, which may change
    row = Connector.objects.get()
    row.settings |= {"base_url": sidecar.url, "allow_private_network": False}
    row.revision += 1
    row.save()  # as if the name of a public host had come to mean this machine
    outcome = send()
    assert isinstance(outcome, Refused)
    assert outcome.error_class == "blocked_external_fetch"
    assert sidecar.manifests == 0


@pytest.mark.usefixtures("connector")
def test_a_connector_that_is_off_or_gone() -> None:
    connectors.set_enabled("external", "mail", False)
    assert isinstance(send(), RetryLater)
    connectors.delete("external", "mail")
    assert isinstance(send(), Refused)
    with pytest.raises(NotFound):
        SENDER.check(ADDRESS)


@pytest.mark.parametrize(
    "address",
    [None, "x", {}, {"connector": "mail"}, {"connector": "mail", "route": ""},
     {"connector": "mail", "route": 1},
     {"connector": " ", "route": "x"}, {"connector": "mail", "route": "x" * 4097},
     {"connector": "mail", "route": "x", "more": 1}, {"connector": "mail", "route": "\x00"}],
)  # fmt: skip
def test_an_address_in_another_form_is_refused(address: Any) -> None:
    with pytest.raises(handles.InvalidReplyTarget):
        handles.normal({"plugin": "external", "address": address})


@pytest.mark.usefixtures("connector")
def test_the_tagged_form_of_an_address() -> None:
    handle = handles.normal({"type": "external", "connector": "mail", "route": "r-1"})
    assert handle == {"plugin": "external", "address": ADDRESS}
    handles.check(handle)

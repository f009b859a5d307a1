"""Files on their way to a model: images as images where the route takes them, everything else as words."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from sessions_app.engine import loop
from sessions_app.models import AssetBlob, Route, Run, Session
from sessions_app.providers.base import Message, Request
from sessions_app.services import routes, runs
from sessions_app.services.heartbeat import Heartbeat
from sessions_app.services.routes import RouteFields, RouteInvalid
from tests.factories import make_asset
from tests.sessions_app.engine.conftest import payloads
from tests.support.fault_server import FaultServer
from tests.support.files import pdf, picture

pytestmark = pytest.mark.django_db(transaction=True)
IMAGE = picture()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


def use(server: FaultServer, **options: Any) -> Route:
    fields = RouteFields(driver="openai", model="eyes", base_url=server.base_url, options=options)
    return routes.create("eyes", fields, default=True)


def give(session: Session, heartbeat: Heartbeat, **fields: Any) -> Run:
    run = runs.submit(session.session_id, runs.NewRun(**fields), principal="alice")
    loop.drive(session.pk, heartbeat)
    run = runs.get(run.run_id)
    assert run.status == "completed", run.error
    return run


def attached(*files: tuple[bytes, str, str]) -> list[dict[str, Any]]:
    return [{"asset_id": make_asset(*file).asset_id} for file in files]


def said(server: FaultServer, call: int = 0) -> list[Any]:
    return [item["content"] for item in server.exchanges[call].body["messages"] if item["role"] == "user"]


def test_a_model_with_eyes_gets_the_image_and_the_words_of_the_document(
    server: FaultServer, session: Session, heartbeat: Heartbeat
) -> None:
    use(server, images=True)
    files = attached((IMAGE, "image/png", "dot.png"), (pdf("quarterly numbers"), "application/pdf", "q.pdf"))
    run = give(session, heartbeat, content="what is this?", attachments=files)
    [[words, shown]] = said(server)
    assert words["type"] == "text" and words["text"].startswith("what is this?")
    assert "quarterly numbers" in words["text"] and "'dot.png'" in words["text"]
    url = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"
    assert shown == {"type": "image_url", "image_url": {"url": url}}
    [user, _] = payloads(run, "message.created")
    assert user["parts"] == [
        {"type": "image", "asset_id": files[0]["asset_id"], "media_type": "image/png",
         "sha256": user["parts"][0]["sha256"]}
    ]  # fmt: skip
    assert base64.b64encode(IMAGE).decode()[:40] not in str(user)


def test_a_later_run_of_the_session_still_shows_it(
    server: FaultServer, session: Session, heartbeat: Heartbeat
) -> None:
    use(server, images=True)
    give(session, heartbeat, content="look", attachments=attached((IMAGE, "image/png", "dot.png")))
    give(session, heartbeat, content="and now?")
    first, second = said(server, 1)
    assert first[1]["type"] == "image_url" and second == "and now?"


def test_a_model_without_eyes_gets_its_name(
    server: FaultServer, session: Session, heartbeat: Heartbeat
) -> None:
    use(server)
    give(session, heartbeat, content="look", attachments=attached((IMAGE, "image/png", "dot.png")))
    [words] = said(server)
    assert isinstance(words, str)
    assert words.startswith("look\n\n[Attached file 'dot.png', image/png, 8 x 6 pixels, asset_")


def test_the_json_protocol_keeps_images(server: FaultServer, session: Session, heartbeat: Heartbeat) -> None:
    use(server, images=True, tool_protocol="json")
    give(session, heartbeat, content="look", attachments=attached((IMAGE, "image/png", "dot.png")))
    assert said(server)[0][1]["type"] == "image_url"


def test_a_script_sees_images_where_its_route_takes_them(
    script: Any, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "saw <{{ images }}>"}, images=True)
    files = attached((IMAGE, "image/png", "dot.png"))
    run = give(session, heartbeat, content="look", attachments=files)
    assert run.outputs[0]["content"] == f"saw <image/png {len(IMAGE)} bytes>"
    script({"text": "saw <{{ images }}>"})
    assert give(session, heartbeat, content="again", attachments=files).outputs[0]["content"] == "saw <>"


def test_a_broken_image_costs_its_place_and_not_the_run(
    script: Any, session: Session, heartbeat: Heartbeat
) -> None:
    script({"text": "saw <{{ images }}> {{ input }}"}, images=True)
    files = attached((IMAGE, "image/png", "dot.png"))
    run = runs.submit(session.session_id, runs.NewRun(content="look", attachments=files), principal="alice")
    AssetBlob.objects.update(content=b"changed")
    loop.drive(session.pk, heartbeat)
    [output] = runs.get(run.run_id).outputs
    assert output["content"].startswith("saw <> look")
    assert f"[{files[0]['asset_id']} could not be read and is not shown]" in output["content"]


def test_only_the_newest_images_are_sent() -> None:
    from sessions_app.engine import images
    from sessions_app.providers.base import ImagePart

    asset = make_asset(IMAGE, "image/png", "dot.png")
    part = ImagePart(asset_id=asset.asset_id, media_type="image/png", sha256=asset.sha256)
    messages = tuple(Message(role="user", content=str(n), images=(part,) * 9) for n in range(3))
    request = Request(
        model="m", system="", messages=messages, tools=(), generation={}, run_id="r", step=1, attempt=1
    )
    sent = [len(message.images) for message in images.loaded(request).messages]
    assert sent == [2, 9, 9]
    assert all(not message.images for message in images.without(request).messages)


def test_the_option_is_a_flag() -> None:
    for driver in ("openai", "scripted"):
        with pytest.raises(RouteInvalid, match="images must be true or false"):
            routes.create("r", RouteFields(driver=driver, model="m", options={"images": "yes"}))

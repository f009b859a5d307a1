"""Files of a message, stored as assets of its run."""

import io

import pytest
from PIL import Image

from sessions_app.models import Asset, Run
from sessions_app.services import assets
from tests.connectors_app.kinds.slack.world import bring, envelope, make_slack
from tests.support.slack_server import SlackServer

pytestmark = pytest.mark.django_db(transaction=True)


def picture() -> bytes:
    """A small PNG."""
    made = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(made, "PNG")
    return made.getvalue()


def test_files_become_assets_of_the_run(slack: SlackServer) -> None:
    make_slack(slack)
    given = [
        slack.file("plan.md", b"# Plan", mimetype="text/markdown"),
        slack.file("red.png", picture(), mimetype="image/png"),
    ]
    answer = bring(envelope("see these", event={"subtype": "file_share", "files": given}))
    assert answer.status_code == 200, answer.content
    text, plan, red = Run.objects.get().input_items
    assert text == {"type": "text", "text": "see these"}
    assert [(item["type"], item["file_name"]) for item in (plan, red)] == [
        ("asset_reference", "plan.md"),
        ("asset_reference", "red.png"),
    ]
    assert assets.read(Asset.objects.get(asset_id=plan["asset_id"])) == b"# Plan"


def test_a_file_that_is_not_what_it_says_takes_nothing_else_with_it(slack: SlackServer) -> None:
    make_slack(slack)
    given = [
        slack.file("red.png", b"no picture", mimetype="image/png"),
        slack.file("plan.md", b"# Plan", mimetype="text/markdown"),
    ]
    answer = bring(envelope("see these", event={"subtype": "file_share", "files": given}))
    assert answer.status_code == 200, answer.content
    items = Run.objects.get().input_items
    assert items[0] == {"type": "text", "text": "see these"}
    assert items[1]["text"].startswith("[The file red.png is missing:")
    assert items[2]["file_name"] == "plan.md"

"""Markdown for Slack, and cutting it."""

import pytest
from slack_sdk.models.blocks import ActionsBlock, Block, ContextBlock, SectionBlock

from connectors_app.kinds.slack import blocks, mrkdwn
from connectors_app.services.contracts import Button


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("a < b && c > d", "a &lt; b &amp;&amp; c &gt; d"),
        (
            "<!channel> <@U1> <https://evil.test|bank>",
            "&lt;!channel&gt; &lt;@U1&gt; &lt;https://evil.test|bank&gt;",
        ),
        ("**bold** and ~~gone~~", "*bold* and ~gone~"),
        ("# Title\ntext", "*Title*\ntext"),
        ("see [the page](https://a.test/x?a=1&b=2)", "see <https://a.test/x?a=1&amp;b=2|the page>"),
        ("[no](javascript:alert)", "[no](javascript:alert)"),
        ("[<!here>](https://a.test)", "<https://a.test|&lt;!here&gt;>"),
        ("`**code** <b>`", "`**code** &lt;b&gt;`"),
        ("```python\n# not a title\n**x**\n```", "```\n# not a title\n**x**\n```"),
        ("> quoted", "> quoted"),
        ("__init__ and 2 ** 3 ** 4", "__init__ and 2 ** 3 ** 4"),
    ],
)
def test_markdown_becomes_mrkdwn(written: str, shown: str) -> None:
    assert mrkdwn.of_markdown(written) == shown


@pytest.mark.parametrize("limit", [10, 11, 12, 13, 14, 50])
def test_pieces_join_to_the_whole_and_tear_nothing(limit: int) -> None:
    text = mrkdwn.escaped("one two\nthree <four> & five " * 20)
    found = mrkdwn.split(text, limit)
    assert "".join(found) == text
    assert all(0 < len(piece) <= limit for piece in found)
    assert all(piece.count("&") == piece.count(";") for piece in found)


def test_a_cut_prefers_the_end_of_a_line() -> None:
    assert mrkdwn.split("aaaaaaaa\nbb cc dd", 10) == ["aaaaaaaa\n", "bb cc dd"]
    assert mrkdwn.split("a" * 25, 10) == ["a" * 10, "a" * 10, "a" * 5]
    assert mrkdwn.split("", 10) == []


def test_a_link_is_not_torn() -> None:
    text = "x" * 8 + "<https://a.test|name> and more"
    assert mrkdwn.split(text, 24)[0] == "x" * 8


def test_questions_are_valid_block_kit() -> None:
    rows = [
        [
            Button(label="Allow", data="a:1", style="primary"),
            Button(label="Deny", data="d:1", style="danger"),
        ],
        [Button(label="L" * 100, data="x" * 64, style="odd")],
        [Button(label=str(number), data=f"n:{number}") for number in range(30)],
    ]
    found = blocks.asking("*May I?*", rows, literal=False)
    parsed = Block.parse_all(found)
    assert [type(block) for block in parsed] == [SectionBlock, *[ActionsBlock] * 4]
    for block in parsed:
        block.validate_json()
    elements = [element for block in found[1:] for element in block["elements"]]
    assert [element.get("style") for element in elements[:3]] == ["primary", "danger", None]
    assert len({element["action_id"] for element in elements}) == len(elements) == 33
    assert all(len(element["text"]["text"]) <= 75 for element in elements)


def test_an_answered_question_keeps_its_text_and_loses_its_buttons() -> None:
    asked = blocks.asking("*May I?*", [[Button(label="Allow", data="a:1")]], literal=True)
    found = blocks.answered(asked, "You allowed <bash>.")
    parsed = Block.parse_all(found)
    assert [type(block) for block in parsed] == [SectionBlock, ContextBlock]
    for block in parsed:
        block.validate_json()
    assert found[0]["text"] == {"type": "plain_text", "text": "*May I?*", "emoji": False}
    assert found[1]["elements"][0]["type"] == "plain_text"
    assert found[1]["elements"][0]["text"] == "You allowed &lt;bash&gt;."
    assert blocks.answered("nonsense", "ok")[0]["type"] == "context"

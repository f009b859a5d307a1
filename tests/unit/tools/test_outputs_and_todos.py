"""emit_output and todo_write."""

import os

import pytest

from sessions_app.tools import registry
from sessions_app.tools.base import GivenFile, WorkspaceFile


def test_emit_output_hands_over_content_and_parts(call, context):
    call("emit_output", content="half way", parts=[{"text": "one"}, {"text": "two"}])
    assert context.outputs.emitted == [("half way", [{"text": "one"}, {"text": "two"}], [])]


@pytest.mark.parametrize("arguments", [{}, {"content": "  "}, {"parts": []}, {"attachments": []}])
def test_emit_output_needs_something(call, context, arguments):
    assert call("emit_output", **arguments).error_code == "invalid_arguments"
    assert context.outputs.emitted == []


def test_emit_output_hands_over_files(call, context, workspace):
    (workspace / "out").mkdir()
    (workspace / "out" / "report.csv").write_bytes(b"a,b\n")
    named = [{"path": "out/report.csv"}, {"asset_id": "asset_1"}, {"path": str(workspace / "out/report.csv")}]
    result = call("emit_output", attachments=named)
    report = WorkspaceFile(name="report.csv", content=b"a,b\n")
    assert context.outputs.emitted == [("", [], [report, GivenFile(asset_id="asset_1"), report])]
    assert result.content == "sent with report.csv (4 bytes), given.txt (5 bytes), report.csv (4 bytes)"
    assert [file["file_name"] for file in result.data["attachments"]] == [
        "report.csv", "given.txt", "report.csv",
    ]  # fmt: skip


def _link_outside(workspace):
    (workspace / "link").symlink_to("../secret.txt")


def _large(workspace):
    (workspace / "large").write_bytes(b"x" * 1001)


@pytest.mark.parametrize(
    ("make", "path", "code"),
    [
        (None, "missing.txt", "file_not_found"),
        (None, "../secret.txt", "path_outside_workspace"),
        (None, "/etc/passwd", "path_outside_workspace"),
        (_link_outside, "link", "path_outside_workspace"),
        (None, ".", "not_a_file"),
        (lambda workspace: os.mkfifo(workspace / "pipe"), "pipe", "not_a_file"),
        (_large, "large", "file_too_large"),
    ],
)
def test_emit_output_reads_nothing_else(call, context, workspace, make, path, code):
    (workspace / "fine.txt").write_text("fine")
    if make:
        make(workspace)
    result = call("emit_output", content="see", attachments=[{"path": "fine.txt"}, {"path": path}])
    assert (result.is_error, result.error_code) == (True, code)
    assert context.outputs.emitted == []


def test_emit_output_takes_ten_files(call, context, workspace):
    (workspace / "a.txt").write_text("a")
    assert not call("emit_output", attachments=[{"path": "a.txt"}] * 10).is_error
    result = call("emit_output", attachments=[{"path": "a.txt"}] * 11)
    assert result.error_code == "too_many_attachments"
    assert result.content == "11 attachments; 10 go with one output"


@pytest.mark.parametrize("item", [{}, {"path": "a.txt", "asset_id": "asset_1"}])
def test_emit_output_wants_one_name_for_each_file(call, item):
    assert call("emit_output", attachments=[item]).error_code == "invalid_arguments"


HANDLE = {"plugin": "http", "address": {"url": "https://elsewhere.example.org"}}


@pytest.mark.parametrize(
    "smuggled",
    [
        {"reply_targets": [HANDLE]},
        {"metadata": {"a": 1}},
        {"buttons": []},
        {"files": []},
        {"parts": [{"text": "x", "reply_targets": [HANDLE]}]},
        {"parts": [{"text": "x", "asset_id": "asset_1"}]},
        {"attachments": [{"path": "a.txt", "reply_targets": [HANDLE]}]},
    ],
)
def test_emit_output_does_not_let_the_model_say_where_it_goes(smuggled):
    assert registry.validate(registry.get("emit_output"), {"content": "x", **smuggled})


def test_todo_write_gives_the_same_ids_every_time(call, context):
    todos = [{"content": "look"}, {"id": "1", "content": "fix", "completed": True}, {"content": "tell"}]
    first = call("todo_write", todos=todos)
    assert call("todo_write", todos=todos) == first
    assert context.todos.todos == [
        {"id": "2", "content": "look", "completed": False},
        {"id": "1", "content": "fix", "completed": True},
        {"id": "3", "content": "tell", "completed": False},
    ]
    assert first.content == "[ ] 2: look\n[x] 1: fix\n[ ] 3: tell"


def test_todo_write_refuses_two_of_one_id(call):
    assert call("todo_write", todos=[{"id": "a", "content": "x"}, {"id": "a", "content": "y"}]).is_error


def test_todo_write_can_empty_the_list(call, context):
    call("todo_write", todos=[])
    assert context.todos.todos == []

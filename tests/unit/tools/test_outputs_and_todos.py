"""emit_output and todo_write."""

import pytest


def test_emit_output_hands_over_content_and_parts(call, context):
    call("emit_output", content="half way", parts=[{"text": "one"}, {"text": "two"}])
    assert context.outputs.emitted == [("half way", [{"text": "one"}, {"text": "two"}])]


@pytest.mark.parametrize("arguments", [{}, {"content": "  "}, {"parts": []}])
def test_emit_output_needs_something(call, context, arguments):
    assert call("emit_output", **arguments).error_code == "invalid_arguments"
    assert context.outputs.emitted == []


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

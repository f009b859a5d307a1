"""read_file, list_files, glob_search, grep_search."""

import base64
import hashlib
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessions_app.tools.base import ToolFailure
from sessions_app.tools.grep_search import GrepSearch
from sessions_app.tools.listing import glob_matches


def test_read_file_shows_lines_and_digest(workspace, call):
    (workspace / "notes.txt").write_text("one\ntwo\nthree\n")
    result = call("read_file", path="notes.txt", start_line=2, line_count=1)
    digest = hashlib.sha256(b"one\ntwo\nthree\n").hexdigest()
    assert result.content == f"[notes.txt, lines 2-2 of 3, sha256 {digest}]\ntwo\n"
    assert result.data["total_lines"] == 3


def test_read_file_clips_long_files_and_says_so(workspace, call):
    (workspace / "long.txt").write_text("é" * 400_000)
    result = call("read_file", path="long.txt")
    assert result.data["truncated"] is True
    assert len(result.content.encode()) < 300_000


def test_read_file_shows_binary_files_as_base64_only(workspace, call):
    (workspace / "image").write_bytes(b"\x89PNG\x00\x01")
    assert call("read_file", path="image").error_code == "binary_file"
    result = call("read_file", path="image", include_base64=True)
    assert base64.b64decode(result.content.splitlines()[1]) == b"\x89PNG\x00\x01"


def test_read_file_counts_lines_as_editors_do(workspace, call):
    (workspace / "odd").write_bytes("a\u2028b\fc\r\nlast".encode())
    result = call("read_file", path="odd", start_line=2)
    assert result.content.endswith("\nlast")
    assert (result.data["total_lines"], result.data["lines_shown"]) == (2, 1)
    assert call("read_file", path="odd", start_line=9).data["lines_shown"] == 0


def test_read_file_of_an_empty_file(workspace, call):
    (workspace / "empty").touch()
    assert not call("read_file", path="empty").is_error


@pytest.mark.parametrize(
    ("path", "code"), [("nothing", "file_not_found"), ("../secret.txt", "path_outside_workspace")]
)
def test_read_file_failures_are_results(call, path, code):
    result = call("read_file", path=path)
    assert (result.is_error, result.error_code) == (True, code)


@pytest.fixture
def tree(workspace):
    for path in ("src/a.py", "src/deep/b.py", "docs/a.md", ".git/config", "src/.kheish-1.tmp", "top.py"):
        file = workspace / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"content of {path}\nNeedle\n")
    (workspace / "away").symlink_to(workspace.parent)
    (workspace / "bad\nname").write_text("x")
    return workspace


def test_list_files_lists_everything_of_interest(tree, call):
    lines = call("list_files").content.splitlines()
    assert lines == [
        "away@", "docs/", "docs/a.md", "src/", "src/a.py", "src/deep/", "src/deep/b.py", "top.py",
    ]  # fmt: skip


def test_list_files_says_when_there_is_more(tree, call):
    result = call("list_files", base="src", limit=2)
    assert result.data == {"paths": ["src/a.py", "src/deep"], "truncated": True}
    assert "more than 2" in result.content


@pytest.mark.parametrize(
    ("base", "code"),
    [("nothing", "path_not_found"), ("top.py", "not_a_folder"), ("away", "path_outside_workspace")],
)
def test_list_files_failures(tree, call, base, code):
    assert call("list_files", base=base).error_code == code


@pytest.mark.parametrize(
    ("pattern", "base", "paths"),
    [
        ("**/*.py", ".", ["src/a.py", "src/deep/b.py", "top.py"]),
        ("*.py", ".", ["top.py"]),
        ("*.py", "src", ["src/a.py"]),
        ("src/*/?.py", ".", ["src/deep/b.py"]),
        ("**", "docs", ["docs/a.md"]),
        ("*.[ch]", ".", []),
    ],
)
def test_glob_search(tree, call, pattern, base, paths):
    assert call("glob_search", pattern=pattern, base=base).data["paths"] == paths


@given(st.lists(st.sampled_from(["a", "b", "ab"]), min_size=1, max_size=5))
def test_globs_match_what_they_are_made_from(names):
    path = "/".join(names)
    assert glob_matches(path, path)
    assert glob_matches("**", path)
    assert glob_matches("/".join("*" for _ in names), path)
    assert glob_matches("**/" + names[-1], path)
    assert not glob_matches("*/" + path, path)


def test_globs_that_would_backtrack_for_ever_do_not():
    started = time.monotonic()
    glob_matches("*a" * 60 + "b", "a" * 250)
    glob_matches("**/" * 60 + "x", "/".join(["a"] * 60))
    assert time.monotonic() - started < 2


def test_grep_search_finds_lines(tree, call):
    result = call("grep_search", pattern="(?i)needle", base="src")
    assert result.content.splitlines() == ["src/a.py:2: Needle", "src/deep/b.py:2: Needle"]
    assert call("grep_search", pattern="Needle", base="top.py").data["lines"] == 1


def test_grep_search_leaves_out_binaries_and_bounds_lines(workspace, call):
    (workspace / "binary").write_bytes(b"Needle\x00")
    (workspace / "long").write_text("Needle" + "x" * 10_000)
    result = call("grep_search", pattern="Needle")
    assert result.data["lines"] == 1
    assert len(result.content) < 500


def test_grep_search_says_when_there_is_more(workspace, call):
    (workspace / "file").write_text("x\n" * 10)
    result = call("grep_search", pattern="x", limit=3)
    assert result.data == {"lines": 3, "truncated": True}


def test_grep_search_without_a_match(call):
    assert call("grep_search", pattern="x").content == "[nothing found]"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"pattern": "("}, "invalid_pattern"),
        ({"pattern": "x", "base": "../"}, "path_outside_workspace"),
        ({"pattern": "x", "base": "nothing"}, "path_not_found"),
    ],
)
def test_grep_search_failures(call, arguments, code):
    assert call("grep_search", **arguments).error_code == code


def test_an_expression_that_never_ends_is_killed(workspace, context):
    (workspace / "file").write_text("a" * 60 + "!")
    timer = threading.Timer(1.0, context.cancelled.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(ToolFailure) as caught:
        GrepSearch().run({"pattern": "(a+)+$"}, context)
    assert caught.value.code == "cancelled"
    assert time.monotonic() - started < 10
    timer.join()

"""write_file, edit_file, apply_patch: whole or not at all, and provable after a crash."""

import base64
import hashlib
import os
import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions_app.tools import changes, registry
from sessions_app.tools.base import Probeable, ProbeInconclusive, ToolFailure
from sessions_app.tools.changes import Change, write_all
from sessions_app.tools.hunks import plan_hunks
from sessions_app.tools.workspace import Workspace


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def hunk(path: str, old: str, new: str, **more) -> dict:
    return {"path": path, "old_text": old, "new_text": new, **more}


def leftovers(workspace: Path) -> list[str]:
    return [entry.name for entry in workspace.rglob(".kheish-*")]


def test_write_file_creates_folders_and_files(workspace, call):
    result = call("write_file", path="a/b/new.txt", content="héllo\n")
    assert (workspace / "a/b/new.txt").read_text() == "héllo\n"
    assert result.content == f"created a/b/new.txt (sha256 {sha('héllo' + chr(10))})"
    assert leftovers(workspace) == []


def test_write_file_keeps_the_mode_of_a_file_and_breaks_hard_links(workspace, call):
    script = workspace / "run.sh"
    script.write_text("old")
    script.chmod(0o751)
    os.link(script, workspace.parent / "other-name")
    call("write_file", path="run.sh", content="new")
    assert script.stat().st_mode & 0o777 == 0o751
    assert (workspace.parent / "other-name").read_text() == "old"


def test_write_file_takes_base64(workspace, call):
    call("write_file", path="image", content_base64=base64.b64encode(b"\x00\xff").decode())
    assert (workspace / "image").read_bytes() == b"\x00\xff"
    assert call("write_file", path="image", content_base64="***").error_code == "invalid_arguments"


@pytest.mark.parametrize("arguments", [{}, {"content": "x", "content_base64": "eA=="}])
def test_write_file_takes_one_content(arguments):
    assert registry.validate(registry.get("write_file"), {"path": "x", **arguments})


def test_write_file_honours_the_expected_digest(workspace, call):
    (workspace / "file").write_text("old")
    assert (
        call("write_file", path="file", content="new", expected_sha256=sha("x")).error_code
        == "precondition_failed"
    )
    assert (
        call("write_file", path="none", content="new", expected_sha256=sha("x")).error_code
        == "precondition_failed"
    )
    assert (workspace / "file").read_text() == "old"
    assert not call("write_file", path="file", content="new", expected_sha256=sha("old").upper()).is_error


def test_write_file_through_a_link_changes_its_target(workspace, call):
    (workspace / "target").write_text("old")
    (workspace / "link").symlink_to("target")
    call("write_file", path="link", content="new")
    assert (workspace / "link").is_symlink()
    assert (workspace / "target").read_text() == "new"


def test_write_file_onto_a_folder_fails(workspace, call):
    (workspace / "folder").mkdir()
    assert call("write_file", path="folder", content="x").error_code == "not_a_file"
    assert call("write_file", path=".", content="x").error_code == "not_a_file"


def test_a_file_cannot_be_a_folder(workspace, call):
    (workspace / "file").write_text("x")
    assert call("write_file", path="file/below", content="x").is_error


def test_edit_file_replaces_the_one_place(workspace, call):
    (workspace / "file").write_text("a b c")
    result = call("edit_file", path="file", old_text="b", new_text="B")
    assert (workspace / "file").read_text() == "a B c"
    assert result.data["files"] == [{"path": "file", "before": sha("a b c"), "after": sha("a B c")}]


@pytest.mark.parametrize(
    ("old", "more", "code"),
    [
        ("x", {}, "text_not_found"),
        ("a", {}, "text_not_unique"),
        ("b", {"expected_sha256": "0" * 64}, "precondition_failed"),
    ],
)
def test_edit_file_refusals(workspace, call, old, more, code):
    (workspace / "file").write_text("a b a")
    assert call("edit_file", path="file", old_text=old, new_text="y", **more).error_code == code
    assert (workspace / "file").read_text() == "a b a"


def test_edit_file_everywhere(workspace, call):
    (workspace / "file").write_text("a b a")
    call("edit_file", path="file", old_text="a", new_text="c", replace_all=True)
    assert (workspace / "file").read_text() == "c b c"


def test_edit_file_hints_at_line_ends_and_keeps_bytes(workspace, call):
    (workspace / "file").write_bytes(b"a\r\nb\xff\r\n")
    assert "CRLF" in call("edit_file", path="file", old_text="a\nb", new_text="x").content
    call("edit_file", path="file", old_text="a", new_text="x")
    assert (workspace / "file").read_bytes() == b"x\r\nb\xff\r\n"


def test_apply_patch_changes_several_files(workspace, call):
    (workspace / "one").write_text("1")
    (workspace / "two").write_text("2")
    hunks = [
        hunk("one", "1", "I", expected_sha256=sha("1")),
        hunk("two", "2", "II"),
        hunk("d/three", "", "III"),
    ]
    assert not call("apply_patch", hunks=hunks).is_error
    assert [(workspace / name).read_text() for name in ("one", "two", "d/three")] == ["I", "II", "III"]


def test_hunks_of_one_file_apply_in_order_under_any_spelling(workspace, call):
    (workspace / "one").write_text("1")
    (workspace / "link").symlink_to("one")
    hunks = [
        hunk("one", "1", "2", expected_sha256=sha("1")),
        hunk("./link", "2", "3", expected_sha256=sha("1")),
    ]
    assert call("apply_patch", hunks=hunks).data["files"] == [
        {"path": "one", "before": sha("1"), "after": sha("3")}
    ]
    assert (workspace / "one").read_text() == "3"


def test_apply_patch_checks_everything_first_and_names_all_that_is_wrong(workspace, call):
    (workspace / "one").write_text("1")
    hunks = [
        hunk("one", "1", "changed"),
        hunk("one", "nothing like it", ""),
        hunk("missing", "x", "y"),
        hunk("../secret.txt", "outside", "inside"),
        hunk("one", "", "exists"),
    ]
    result = call("apply_patch", hunks=hunks)
    assert result.error_code == "text_not_found"
    assert len(result.content.splitlines()) == 4
    assert (workspace / "one").read_text() == "1"
    assert (workspace.parent / "secret.txt").read_text() == "outside"


def test_a_later_failure_puts_back_what_was_written(workspace):
    """The second folder cannot be written: the first file gets its old content, the new one goes."""
    (workspace / "one").write_text("1")
    (workspace / "file").write_text("x")
    plan = [
        Change(path="one", before=b"1", after=b"I"),
        Change(path="new", before=None, after=b"N"),
        Change(path="file/below", before=None, after=b"impossible"),
    ]
    with Workspace(workspace) as opened, pytest.raises(ToolFailure) as caught:
        write_all(opened, plan, "key")
    assert caught.value.message.endswith("nothing was changed")
    assert (workspace / "one").read_text() == "1"
    assert not (workspace / "new").exists()
    assert leftovers(workspace) == []


def test_a_file_changed_since_the_plan_stops_the_patch(workspace):
    (workspace / "one").write_text("1")
    (workspace / "two").write_text("2")
    with Workspace(workspace) as opened:
        plan = plan_hunks([hunk("one", "1", "I"), hunk("two", "2", "II")], opened)
        (workspace / "two").write_text("somebody else's")
        with pytest.raises(ToolFailure) as caught:
            write_all(opened, plan, "key")
    assert caught.value.code == "file_changed"
    assert (workspace / "one").read_text() == "1"
    assert (workspace / "two").read_text() == "somebody else's"


def test_a_repeat_takes_over_what_a_crash_left(workspace):
    (workspace / "one").write_text("1")
    change = Change(path="one", before=b"1", after=b"2")
    temporary = f".kheish-{changes.sha256_hex('key' + 'one')[:20]}.tmp"
    (workspace / temporary).write_text("half")
    with Workspace(workspace) as opened:
        write_all(opened, [change], "key")
    assert (workspace / "one").read_text() == "2"
    assert leftovers(workspace) == []


def test_readers_never_see_a_mixture(workspace, context):
    tool = registry.get("write_file")
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add((workspace / "file").read_text())

    (workspace / "file").write_text("0" * 50_000)
    reader = threading.Thread(target=read)
    reader.start()
    for digit in "123456789":
        tool.run({"path": "file", "content": digit * 50_000}, context)
    stop.set()
    reader.join()
    assert all(len(set(text)) == 1 and len(text) == 50_000 for text in seen)


def test_edits_of_many_threads_are_all_kept(workspace, context):
    (workspace / "file").write_text("".join(f"<{n}>" for n in range(8)))
    tool = registry.get("edit_file")

    def edit(n: int) -> None:
        tool.run(
            {"path": "file", "old_text": f"<{n}>", "new_text": f"[{n}]"},
            replace(context, idempotency_key=f"key_{n}"),
        )

    threads = [threading.Thread(target=edit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (workspace / "file").read_text() == "".join(f"[{n}]" for n in range(8))


CALLS = [
    ("write_file", {"path": "file", "content": "after"}),
    ("edit_file", {"path": "file", "old_text": "before", "new_text": "after"}),
    ("apply_patch", {"hunks": [hunk("file", "before", "after"), hunk("new", "", "n")]}),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_a_probe_tells_done_from_not_done(workspace, context, name, arguments):
    (workspace / "file").write_text("before")
    tool = registry.get(name)
    assert isinstance(tool, Probeable)
    prepared = tool.prepare(arguments, context)
    assert tool.probe(arguments, prepared, context) is None
    done = tool.run(arguments, context)
    assert tool.probe(arguments, prepared, context) == done


@pytest.mark.parametrize(("name", "arguments"), CALLS)
def test_a_probe_does_not_guess(workspace, context, name, arguments):
    (workspace / "file").write_text("before")
    tool = registry.get(name)
    prepared = tool.prepare(arguments, context)
    (workspace / "file").write_text("something else")
    with pytest.raises(ProbeInconclusive, match="file: changed by somebody else"):
        tool.probe(arguments, prepared, context)
    with pytest.raises(ProbeInconclusive):
        tool.probe(arguments, {}, context)


def test_a_probe_of_half_a_patch_asks_for_a_person(workspace, context):
    (workspace / "file").write_text("before")
    tool = registry.get("apply_patch")
    arguments = CALLS[2][1]
    prepared = tool.prepare(arguments, context)
    (workspace / "file").write_text("after")
    with pytest.raises(ProbeInconclusive, match="file: changed as asked; new: not changed"):
        tool.probe(arguments, prepared, context)


def test_prepare_refuses_what_cannot_be_applied_and_changes_nothing(workspace, context):
    with pytest.raises(ToolFailure):
        registry.get("edit_file").prepare({"path": "none", "old_text": "a", "new_text": "b"}, context)
    registry.get("write_file").prepare({"path": "deep/er/file", "content": "x"}, context)
    assert list(workspace.iterdir()) == []


TEXT = st.text(alphabet="ab\n", min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(files=st.dictionaries(st.sampled_from(["x", "y/z", "y/w"]), TEXT, min_size=1), new=TEXT)
def test_a_patch_and_its_reverse_bring_back_every_byte(files, new):
    """Each file's whole text is replaced by a marked one, and then the other way round."""
    root = Path(tempfile.mkdtemp())
    try:
        with Workspace(root) as opened:
            write_all(opened, plan_hunks([hunk(path, "", text) for path, text in files.items()], opened), "0")
            there = [hunk(path, text, f"<{path}>{new}") for path, text in files.items()]
            back = [hunk(h["path"], h["new_text"], h["old_text"]) for h in there]
            write_all(opened, plan_hunks(there, opened), "1")
            assert all((root / path).read_text() == f"<{path}>{new}" for path in files)
            write_all(opened, plan_hunks(back, opened), "2")
        assert {path: (root / path).read_text() for path in files} == files
    finally:
        shutil.rmtree(root)


@settings(max_examples=60, deadline=None)
@given(hunks=st.lists(st.builds(hunk, st.sampled_from(["x", "y"]), TEXT, TEXT), min_size=1, max_size=4))
def test_a_patch_applies_whole_or_changes_nothing(hunks):
    root = Path(tempfile.mkdtemp())
    try:
        (root / "x").write_text("ab\nba\n")
        before = {entry.name: entry.read_bytes() for entry in root.iterdir()}
        with Workspace(root) as opened:
            try:
                plan = plan_hunks(hunks, opened)
            except ToolFailure:
                plan = []
            write_all(opened, plan, "key")
        expected = before | {change.path: change.after for change in plan}
        assert {entry.name: entry.read_bytes() for entry in root.iterdir()} == expected
    finally:
        shutil.rmtree(root)

"""Paths never leave the workspace."""

import os
import shutil
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessions_app.tools import workspace as workspace_module
from sessions_app.tools.base import ToolFailure
from sessions_app.tools.changes import Change, current, write_all
from sessions_app.tools.listing import walk
from sessions_app.tools.workspace import Workspace


def code_of(workspace: Path, path: str) -> str:
    with pytest.raises(ToolFailure) as caught, Workspace(workspace) as opened:
        opened.read(path)
    return caught.value.code


@pytest.mark.parametrize(
    "path", ["../secret.txt", "a/../../secret.txt", "/etc/passwd", "..", "a/../..", "./.././secret.txt", "/"]
)
def test_paths_out_of_the_workspace_are_refused(workspace, path):
    (workspace / "a").mkdir()
    assert code_of(workspace, path) == "path_outside_workspace"


@pytest.mark.parametrize("target", ["../secret.txt", "{outside}/secret.txt", "/etc/passwd"])
def test_links_out_of_the_workspace_are_refused(workspace, target):
    (workspace / "link").symlink_to(target.format(outside=workspace.parent))
    assert code_of(workspace, "link") == "path_outside_workspace"


def test_folder_links_out_of_the_workspace_are_refused_for_writing_too(workspace):
    (workspace / "door").symlink_to(workspace.parent)
    with Workspace(workspace) as opened:
        for path in ("door/secret.txt", "door/new.txt", "door/new/deep.txt"):
            with pytest.raises(ToolFailure) as caught:
                write_all(opened, [Change(path=path, before=None, after=b"x")], "key")
            assert caught.value.code == "path_outside_workspace"
    assert sorted(entry.name for entry in workspace.parent.iterdir()) == ["secret.txt", "workspace"]


def test_links_inside_the_workspace_are_followed(workspace):
    (workspace / "folder").mkdir()
    (workspace / "folder" / "file").write_text("inside")
    (workspace / "relative").symlink_to("folder/file")
    (workspace / "absolute").symlink_to(workspace / "folder")
    (workspace / "folder" / "up").symlink_to("../relative")
    (workspace / "folder" / "root").symlink_to(workspace)
    with Workspace(workspace) as opened:
        assert opened.read("relative") == b"inside"
        assert opened.read("absolute/file") == b"inside"
        assert opened.read("folder/root/folder/file") == b"inside"
        assert current(opened, "folder/up") == ("folder/file", b"inside")


def test_absolute_paths_below_the_root_are_understood(workspace):
    (workspace / "file").write_text("inside")
    with Workspace(workspace) as opened:
        assert opened.read(f"{workspace}/file") == b"inside"
        with opened.locate(str(workspace)) as location:
            assert location.relative == "."


def test_a_sibling_with_the_same_beginning_is_outside(workspace):
    (workspace.parent / "workspace-2").mkdir()
    assert code_of(workspace, f"{workspace}-2/file") == "path_outside_workspace"


def test_link_loops_end(workspace):
    (workspace / "a").symlink_to("b")
    (workspace / "b").symlink_to("a")
    assert code_of(workspace, "a") == "path_invalid"


def test_special_files_are_not_read_and_do_not_hang(workspace):
    os.mkfifo(workspace / "pipe")
    (workspace / "device").symlink_to("/dev/zero")
    (workspace / "folder").mkdir()
    assert code_of(workspace, "pipe") == "not_a_file"
    assert code_of(workspace, "folder") == "not_a_file"
    assert code_of(workspace, "device") == "path_outside_workspace"


@pytest.mark.parametrize("path", ["", "a\x00b", "x" * 300, "a\ud800", "a/" * 100 + "b"])
def test_unusable_paths_are_failures_not_crashes(workspace, path):
    assert code_of(workspace, path) in ("path_invalid", "path_not_found", "file_not_found")


def test_deep_paths_are_bounded(workspace):
    with Workspace(workspace) as opened, pytest.raises(ToolFailure) as caught:
        write_all(opened, [Change(path="d/" * 100 + "f", before=None, after=b"")], "key")
    assert caught.value.code == "path_invalid"


def test_a_missing_workspace_is_a_failure(tmp_path):
    assert code_of(tmp_path / "nowhere", "file") == "workspace_unavailable"


def test_large_files_are_refused(workspace, monkeypatch):
    monkeypatch.setattr(workspace_module, "MAX_FILE_BYTES", 10)
    (workspace / "file").write_bytes(b"x" * 11)
    assert code_of(workspace, "file") == "file_too_large"


def test_no_descriptor_is_left_open(workspace, closes_descriptors):
    (workspace / "a" / "b").mkdir(parents=True)
    (workspace / "a" / "b" / "c").write_text("x")
    (workspace / "link").symlink_to(workspace / "a")
    with Workspace(workspace) as opened:
        for path in ("link/b/c", "a/b/../b/c", "nothing/x", "../x", "a", "a/b/c/d"):
            with suppress(ToolFailure):
                opened.read(path)
        next(walk(opened, "."))
        assert [str(entry) for entry in walk(opened, ".")] == ["a/", "a/b/", "a/b/c", "link@"]


def test_a_folder_swapped_for_a_link_never_leads_out(workspace):
    """Race a reader and a writer against somebody who exchanges the folder for a link outside."""
    outside = workspace.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    (workspace / "folder").mkdir()
    (workspace / "folder" / "file").write_text("inside")
    (workspace / "link").symlink_to(outside)
    until = time.monotonic() + 1.0

    def swap() -> None:
        while time.monotonic() < until:
            with suppress(OSError):
                os.rename(workspace / "folder", workspace / "aside")
            with suppress(OSError):  # the writer may have made the folder anew
                os.rename(workspace / "link", workspace / "folder")
                os.rename(workspace / "folder", workspace / "link")
            shutil.rmtree(workspace / "folder", ignore_errors=True)
            with suppress(OSError):
                os.rename(workspace / "aside", workspace / "folder")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    while time.monotonic() < until:
        try:
            with Workspace(workspace) as opened:
                seen.add(opened.read("folder/file"))
                write_all(opened, [Change(path="folder/file", before=b"inside", after=b"inside ")], "a")
                write_all(opened, [Change(path="folder/file", before=b"inside ", after=b"inside")], "b")
        except ToolFailure:
            continue
    thread.join()
    assert seen <= {b"inside", b"inside "}
    assert (outside / "file").read_text() == "outside"
    assert [entry.name for entry in outside.iterdir()] == ["file"]


def test_the_lock_keeps_threads_apart(workspace):
    order = []

    def hold(name: str, started: threading.Event) -> None:
        with Workspace(workspace) as opened, opened.locked():
            started.set()
            order.append(f"{name} in")
            time.sleep(0.1)
            order.append(f"{name} out")

    first, second = threading.Event(), threading.Event()
    one = threading.Thread(target=hold, args=("one", first))
    one.start()
    first.wait(2)
    hold("two", second)
    one.join()
    assert order == ["one in", "one out", "two in", "two out"]


def test_a_lock_that_is_never_given_back_ends_in_a_failure(workspace, monkeypatch):
    monkeypatch.setattr(workspace_module, "LOCK_WAIT_SECONDS", 0.1)
    with (
        Workspace(workspace) as opened,
        opened.locked(),
        pytest.raises(ToolFailure) as caught,
        opened.locked(),
    ):
        pass
    assert caught.value.code == "workspace_busy"


PARTS = st.sampled_from(["a", "b", "l1", "l2", "..", ".", "", "new"])
TARGETS = st.lists(st.sampled_from(["a", "b", "l1", "l2", "..", "."]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=150, deadline=None)
@given(
    links=st.tuples(TARGETS, TARGETS, TARGETS),
    absolute=st.booleans(),
    paths=st.lists(st.lists(PARTS, min_size=1, max_size=6).map("/".join), min_size=1, max_size=8),
)
def test_no_path_through_any_links_reaches_outside(links, absolute, paths):
    """Whatever the links and the path, what is read lies inside and nothing outside changes."""
    outside = Path(tempfile.mkdtemp())
    try:
        root = outside / "root"
        (root / "a" / "b").mkdir(parents=True)
        for folder in (outside, outside / "out"):
            folder.mkdir(exist_ok=True)
            for name in ("a", "b", "new"):
                (folder / name).write_text("outside")
        prefix = f"{root}/" if absolute else ""
        for place, target in zip((root / "l1", root / "a" / "l1", root / "l2"), links, strict=True):
            place.symlink_to(prefix + target)
        (root / "b").write_text("inside")
        snapshot = _outside(outside)
        with Workspace(root) as opened:
            for path in paths:
                _try(opened, path)
        assert _outside(outside) == snapshot
    finally:
        shutil.rmtree(outside)


def _try(opened: Workspace, path: str) -> None:
    try:
        relative, before = current(opened, path)
        assert before in (None, b"inside", b"written")
        assert os.path.realpath(opened.root / relative).startswith(os.path.realpath(opened.root))
        write_all(opened, [Change(path=relative, before=before, after=b"written")], "key")
    except ToolFailure:
        return
    assert opened.read(path) == b"written"


def _outside(folder: Path) -> list[tuple[str, str]]:
    files = [entry for entry in folder.rglob("*") if entry.is_file() and "root" not in entry.parts]
    return sorted((str(entry), entry.read_text()) for entry in files)

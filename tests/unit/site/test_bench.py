"""What measurements are made of: figures and aims, tables, the picture, the history, the names."""

import json
import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench import _figures, _history, _load, _machine, _model, _processes, _svg, plot, smoke, table
from bench._figures import Aim, Figure, Report
from kheish_site import bench

SVG = "{http://www.w3.org/2000/svg}"


def line(commit: str, ours: float, bare: float, **more: object) -> dict[str, object]:
    rows = [
        {
            "system": name,
            "sessions": 8,
            "model_ms": 0.0,
            "runs_per_second": pace,
            "processor_ms_per_run": 10.0,
        }
        for name, pace in (("celery", bare), ("kheish", ours))
    ]
    return {"workload": "runs", "profile": "services", "commit": commit, "rows": rows, **more}


MACHINE = _machine.Machine(
    arch="x86_64", processors=2, load=0.1, python="3.11.7", loop_ms=20.0, loops_ms=35.5
)


def told(figures: list[Figure], *, workload: str = "order", **more: object) -> dict[str, object]:
    head = {"at": "2026-01-02T03:04:05+00:00", "commit": "abc", "workload": workload, "profile": "services"}
    return {**head, "machine": MACHINE.as_json(), "figures": [figure.as_json() for figure in figures], **more}


@pytest.mark.parametrize(
    ("aim", "value", "met"),
    [
        (Aim(5), 5, True),
        (Aim(5), 5.1, False),
        (Aim(5, least=True), 5, True),
        (Aim(5, least=True), 4.9, False),
    ],
)
def test_an_aim_is_met_or_not(aim: Aim, value: float, met: bool) -> None:
    assert Figure("f", value, "ms", aim).as_json()["met"] is met
    assert _figures.figure_cells(Figure("f", value, "ms", aim).as_json())[-1] == ("met" if met else "not met")


def test_a_figure_without_an_aim_has_no_verdict() -> None:
    assert "met" not in Figure("f", 1).as_json() and _figures.figure_cells(Figure("f", 1).as_json())[-1] == ""


def test_a_process_that_ends_while_it_is_looked_at_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "60"]) as stays, subprocess.Popen(["sleep", "60"]) as leaves:
        read = _processes._stat

        def stat(pid: int) -> list[str]:
            if pid == leaves.pid:
                leaves.kill()
                leaves.wait()
            return read(pid)

        monkeypatch.setattr(_processes, "_stat", stat)
        assert {stays.pid, leaves.pid} & _processes.children() == {stays.pid}
        stays.kill()


def test_quantiles_count_from_the_smallest() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert [_figures.at(values, share) for share in (0.5, 0.99, 1.0)] == [51.0, 100.0, 100.0]
    assert _figures.at([], 0.5) == 0.0
    assert _figures.spread("late", [0.001, 0.002], (0.5,)) == {"late_p50_ms": 2.0}


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.1234, "0.12"), (12.34, "12.3"), (1234.5, "1234"), (3.0, "3"), (None, "-"), (True, "yes"), ("x", "x")],
)
def test_values_are_shown_short(value: object, words: str) -> None:
    assert _figures.shown(value) == words


def test_a_report_says_what_must_not_happen() -> None:
    report = Report(rows=[{"runs": 3, "seconds": 1.5}], problems=["one is missing"])
    report.add("runs", 2.0, "/s", Aim(3, least=True))
    text = report.as_text()
    assert "not met" in text and "problem: one is missing" in text and "1.50" in text
    assert json.loads(json.dumps(report.as_json()))["figures"][0]["aim"] == ">= 3"


def test_history_is_a_line_each(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    for number in (1, 2):
        _history.remember("order", MACHINE, {"figures": [], "number": number}, file)
    assert [entry["number"] for entry in _history.recall(file)] == [1, 2]
    first = _history.recall(file)[0]
    assert {"at", "commit"} <= first.keys() and first["machine"]["loops_ms"] == 35.5


def test_the_machine_is_looked_at() -> None:
    found = _machine.looked_at()
    assert found.loop_ms > 0 and found.loops_ms > 0
    assert found.processors == os.cpu_count() and f"a fixed loop takes {found.loop_ms:.1f} ms" in str(found)


def test_the_table_shows_the_newest_of_each(tmp_path: Path) -> None:
    lines = [
        {"workload": "runs", "profile": "services"},  # from before there were figures
        {**told([Figure("old", 1.0, "s")]), "machine": {"arch": "x86_64", "processors": 2, "load": 0.1}},
        told([Figure("new", 4.25, "s", Aim(4.6))]),
        told([Figure("beside", 0.5, "ratio")], workload="runs", variant="--tool"),
    ]
    text = table.as_table(lines)
    assert "old" not in text and len(text.splitlines()) == 4
    where = "2026-01-02, abc, x86_64, 2 processors, Python 3.11.7, loop 20.0 and 35.5 ms"
    assert f"| `order`, services | new | 4.25 s | <= 4.60 | met | {where} |" in text
    assert "| `runs --tool`, services | beside | 0.50 |" in text


def test_the_picture_has_a_dot_for_each_commit_and_number_of_sessions(tmp_path: Path) -> None:
    lines = [
        line("a", 20, 100),
        line("a", 30, 100),
        line("b", 50, 100),
        line("c", 50, 100, profile="embedded"),
        {**line("d", 50, 100), "workload": "accept"},
    ]
    history, into = tmp_path / "history.jsonl", tmp_path / "folder" / "picture.svg"
    history.write_text("".join(json.dumps(each) + "\n" for each in lines))
    assert plot.main(["--history", str(history), "--into", str(into)]) == 0
    root = ElementTree.parse(into).getroot()
    dots = [dot.findtext(f"{SVG}title") for dot in root.iter(f"{SVG}circle")]
    assert dots == [f"{commit}, 8 sessions: {value}" for value, commit in DOTS]
    assert "prefers-color-scheme:dark" in into.read_text()


DOTS = [("0.25", "a"), ("0.50", "b"), ("10", "a"), ("10", "b")]


def test_nothing_measured_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert plot.main(["--history", str(tmp_path / "empty.jsonl"), "--into", str(tmp_path / "none.svg")]) == 1
    assert not (tmp_path / "none.svg").exists()


def test_colours_are_the_consoles() -> None:
    css = (Path(bench.FOLDER).parent / "sessions_app/static/sessions_app/console.css").read_text()
    for name, light in _svg.LIGHT.items():
        assert f"--kh-{name}: light-dark({light}, {_svg.DARK[name]})" in css


def test_the_committed_history_can_be_shown() -> None:
    lines = _history.recall()
    assert table.as_table(lines).startswith("| workload |")
    assert plot.as_picture(plot.measured_in(lines)).startswith("<svg")


def test_every_workload_is_smoked_and_documented(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main([]) == 2
    listed = capsys.readouterr().err
    assert all(f"  {name} " in listed for name in bench.names())
    assert set(smoke.SIZES) == set(bench.names()) - {"all", "plot", "smoke", "table"}
    documented = (bench.FOLDER.parent / "docs" / "benchmark.md").read_text()
    assert [name for name in bench.names() if f"`{name}`" not in documented] == []


def test_a_model_does_what_its_name_says() -> None:
    assert _model.name(ms=1000, tool="bash") == "bench ms=1000 tool=bash"
    assert _model.name() == "bench ms=0"


def test_a_loop_counts_what_it_did() -> None:
    assert _load.closed_loop(lambda session: session, 3, 0.0).found == [0, 1, 2]
    assert set(_load.closed_loop(lambda session: session, 2, 0.01).found) == {0, 1}
    opened = _load.open_loop(lambda number: number, rate=200, seconds=0.05)
    assert [number for _, number in opened.found] == list(range(10))
    assert _load.all_at_once(lambda item: -item, [1, 2], threads=8).found == [-1, -2]

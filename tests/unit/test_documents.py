"""What the documents say is what the code does."""

import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from connectors_app.services.deliveries import states as delivery_states
from kheish_site.cli.parser import NOUNS, build_parser
from sessions_app.models import RunStatus
from sessions_app.services import effects, run_state

ROOT = Path(__file__).resolve().parent.parent.parent
EDGE = re.compile(r"^\| (?P<letter>[A-Za-z]) \| (?P<left>[^|]+) → (?P<right>[^|]+) \|", re.MULTILINE)
WAITING = {status.value for status in RunStatus if status.value.startswith("waiting_")}


def read(name: str) -> str:
    return (ROOT / name).read_text()


def names(text: str) -> set[str]:
    return WAITING if text.strip().startswith("any ") else {part.strip() for part in text.split(",")}


def section(title: str) -> str:
    """The part of ARCHITECTURE under the heading ``title``, up to the next heading."""
    _, _, after = read("ARCHITECTURE.md").partition(f"## {title}\n")
    return after.partition("\n## ")[0]


def drawn(title: str) -> set[tuple[str, str]]:
    """The edges of the table under ``title``."""
    rows = list(EDGE.finditer(section(title)))
    edges = {(a, b, row["left"]) for row in rows for a in names(row["left"]) for b in names(row["right"])}
    return {(a, b) for a, b, left in edges if a != b or not left.strip().startswith("any ")}


@pytest.mark.parametrize(
    ("title", "machine"),
    [
        ("States of a run", run_state.EDGES),
        ("States of an effect", effects.EDGES),
        ("States of a delivery", delivery_states.EDGES),
    ],
)
def test_the_drawn_edges_are_those_of_the_code(title: str, machine: Mapping[str, Collection[str]]) -> None:
    assert drawn(title) == {(str(was), str(to)) for was, targets in machine.items() for to in targets}


def test_a_letter_names_one_edge() -> None:
    letters = [row["letter"] for row in EDGE.finditer(read("ARCHITECTURE.md"))]
    assert len(letters) == len(set(letters))


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda document: document.name)
def test_no_document_has_a_chapter_twice(document: Path) -> None:
    headings = [line for line in document.read_text().splitlines() if line.startswith("## ")]
    assert len(headings) == len(set(headings))


def test_every_problem_code_of_the_code_is_documented() -> None:
    told = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)?)`", read("docs/errors.md")))
    folders = (
        "kheish_site/lib", "sessions_app/services", "sessions_app/api", "sessions_app/streams",
        "connectors_app",
    )  # fmt: skip
    raised = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        source = path.read_text()
        raised |= set(re.findall(r'\bcode="([a-z_/]+)"', source))
        raised |= set(re.findall(r'^    code\b[^=\n]*= "([a-z_/]+)"', source, re.MULTILINE))
    assert len(raised) > 60
    assert raised - told == set()


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    read_by_code = set()
    for path in (ROOT / "kheish_site/settings").glob("*.py"):
        read_by_code |= set(re.findall(r'"(KHEISH_[A-Z_]+)"', path.read_text()))
    table = set(re.findall(r"^\| `(KHEISH_[A-Z_]+)`", read("docs/operations.md"), re.MULTILINE))
    assert table == read_by_code


@pytest.mark.parametrize(
    "name",
    [
        "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/operations.md", "docs/connectors.md",
        "docs/guarantees.md",
    ],
)  # fmt: skip
def test_links_and_paths_exist(name: str) -> None:
    text = read(name)
    folder = (ROOT / name).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (folder / link).exists()] == []
    paths = re.findall(r"`((?:kheish_site|sessions_app|connectors_app|tests)/[\w/.]+)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


def commands(name: str) -> list[list[str]]:
    """The command lines of our own that a document shows, without comments; of alternatives the first."""
    text = read(name).replace("\\\n", " ")
    lines = re.findall(r"^ {4,}python3 manage\.py ([a-z-]+ .+)$", text, re.MULTILINE)
    split = [shlex.split(line.partition(" > ")[0], comments=True) for line in lines]
    return [[word.split("|")[0] for word in words] for words in split if words[0] in NOUNS]


@pytest.mark.parametrize(("name", "least"), [("README.md", 8), ("docs/connectors.md", 30)])
def test_the_commands_shown_can_be_given(name: str, least: int) -> None:
    shown = commands(name)
    assert len(shown) >= least
    for words in shown:
        assert build_parser().parse_args(words).command.noun == words[0]


def test_every_connector_that_is_posted_to_is_made_in_the_same_document() -> None:
    posted = set(re.findall(r"curl \S+/v1/connectors/(\w+/\w+)", read("docs/connectors.md")))
    made = {
        "/".join(words[2:4]) for words in commands("docs/connectors.md") if words[:2] == ["connectors", "set"]
    }
    assert len(posted) >= 2
    assert posted - made == set()


def test_the_readme_is_short() -> None:
    assert len(read("README.md").splitlines()) < 150


def test_the_tests_that_the_checklist_names_exist() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`", read("docs/console-checklist.md"))
    assert len({name for _, name in named}) > 40
    assert [one for one in named if f"def {one[1]}(" not in read(one[0])] == []


def test_the_checklist_answers_all_thirty() -> None:
    numbers = re.findall(r"^\| (\d+) \|", read("docs/console-checklist.md"), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 31)]

"""What a torture found, as a table for people and as JSON."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from kheish_site.lib.crashpoints import POINTS
from tests.torture.invariants import Judgement
from tests.torture.schedule import Profile


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How much must have happened: less of it proves too little, and the report is red."""

    kills: int = 0
    runs: int = 0
    cuts: int = 0
    races_a_cell: int = 0


WANTED: Final[Mapping[Profile, Wanted]] = {
    "services": Wanted(kills=300, runs=500, cuts=200, races_a_cell=5),
    "embedded": Wanted(kills=100, runs=150, cuts=60, races_a_cell=1),
}
ROOT: Final = Path(__file__).resolve().parents[2]
QUIET_SECONDS: Final = 720.0
"""A quiet machine with two processors needs no longer. It is said, not judged: others may work there too."""


@dataclass
class Report:
    """Everything that is printed. ``failures`` are what is wrong beside the invariants."""

    seed: int
    commit: str
    profile: str
    command: str
    seconds: float = 0.0
    kills: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    provider_faults: dict[str, int] = field(default_factory=dict)
    target_faults: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    wanted: Wanted | None = None
    """How much had to happen, with a death at every crash point; None when this is not about that."""

    @property
    def reached(self) -> list[tuple[str, int, int]]:
        """What was wanted: (of what, how many there are, how many there had to be)."""
        if self.wanted is None:
            return []
        cells = len(self.cells)
        raced = sum(count >= self.wanted.races_a_cell for count in self.cells.values())
        enough = sum(min(count, self.wanted.races_a_cell) for count in self.cells.values())
        return [
            ("kills, each seen dead of it", sum(self.kills.values()), self.wanted.kills),
            ("crash points somebody died at", sum(bool(self.kills.get(p)) for p in POINTS), len(POINTS)),
            ("runs accepted among faults", int(self.counts.get("runs among faults", 0)), self.wanted.runs),
            ("cuts of open streams", int(self.counts.get("stream cuts", 0)), self.wanted.cuts),
            (f"cells raced {self.wanted.races_a_cell} times", raced, cells),
            ("races of these", enough, cells * self.wanted.races_a_cell),
        ]

    @property
    def shortcomings(self) -> list[str]:
        """What was left out, so that green would mean nothing: deaths that never came, looks never taken."""
        if self.wanted is None:
            return []
        found = [f"nobody was killed at {point}" for point in POINTS if not self.kills.get(point)]
        found += [f"{name}: {count} of {wanted}" for name, count, wanted in self.reached if count < wanted]
        return found + [f"{each.name} was never looked at" for each in self.judgements if not each.checked]

    @property
    def is_green(self) -> bool:
        """True when every invariant held and nothing was left out."""
        return not (self.failures or self.shortcomings or self.red)

    @property
    def red(self) -> list[str]:
        """Names of the invariants that did not hold."""
        return [each.name for each in self.judgements if each.violations]

    def as_json(self) -> str:
        """One document."""
        whole: dict[str, Any] = asdict(self) | {"green": self.is_green, "shortcomings": self.shortcomings}
        return json.dumps(whole, indent=1)

    def as_markdown(self) -> str:
        """The table as a page."""
        colour = "green" if self.is_green else "red"
        title = f"# Torture, profile {self.profile}, seed {self.seed}: {colour}"
        made = f"Made by `python3 {self.command}` at commit {self.commit}."
        return f"{title}\n\n{made}\n\n```text\n{self.as_text()}\n```\n"

    def as_text(self) -> str:
        """The table."""
        lines = [
            f"seed {self.seed}, commit {self.commit}, profile {self.profile}, {self.seconds:.0f} s",
            f"{self.command}",
            f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors,"
            f" Python {platform.python_version()}",
            "",
            *self._against_what_was_wanted(),
            f"processes killed with SIGKILL and seen dead of it: {sum(self.kills.values())}",
        ]
        lines += [f"  {self.kills.get(point, 0):6}  {point:38} {words}" for point, words in POINTS.items()]
        lines += [f"  {count:6}  {name}" for name, count in self.kills.items() if name not in POINTS]
        for title, found in (
            ("done to the service and what it stands on", self.faults),
            ("done by the model", self.provider_faults),
            ("done by targets", self.target_faults),
            ("runs", self.runs),
            ("looked at", self.counts),
        ):
            lines += ["", title, *(f"  {_number(count):>6}  {name}" for name, count in sorted(found.items()))]
        lines += ["", f"races by kind of wait, deciders and whether they agree: {sum(self.cells.values())}"]
        lines += [f"  {count:6}  {name}" for name, count in self.cells.items()]
        lines += ["", f"{'invariant':44} {'checked':>8} {'violated':>9}"]
        lines += [f"{each.name:44} {each.checked:8} {len(each.violations):9}" for each in self.judgements]
        for each in self.judgements:
            if each.violations:
                lines += ["", f"{each.name}: {each.promise}", *(f"  {text}" for text in each.violations[:12])]
        lines += ["", *(f"FAILED: {failure}" for failure in (*self.failures, *self.shortcomings))]
        lines.append("GREEN" if self.is_green else "RED")
        return "\n".join(lines)

    def _against_what_was_wanted(self) -> list[str]:
        if self.wanted is None:
            return []
        lines = [f"{'wanted':40} {'at least':>8} {'found':>8}"]
        lines += [f"{name:40} {wanted:8} {count:8}" for name, count, wanted in self.reached]
        within = f"{'seconds (on a quiet machine at most)':40} {QUIET_SECONDS:8.0f} {self.seconds:8.0f}"
        return [*lines, within, ""]


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def commit() -> str:
    """The commit that is tortured, with a plus when something is changed in it."""
    return _git("describe", "--always", "--dirty=+") or "unknown"


def commit_seed() -> int:
    """A seed of six digits for the commit, so that each one is tried by another; 1 where there is no git."""
    return int((_git("rev-parse", "HEAD") or "1")[:12], 16) % 10**6


def _git(*words: str) -> str:
    here = Path(__file__).parent
    try:
        told = subprocess.run(
            ["git", "-c", f"safe.directory={ROOT}", *words], cwd=here, capture_output=True, text=True
        )
    except OSError:
        return ""
    return told.stdout.strip()

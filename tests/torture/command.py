"""``manage.py torture``: see ``--help``."""

import argparse
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.torture import harness
from tests.torture.evidence import found_in
from tests.torture.harness import Order
from tests.torture.invariants import judge_all
from tests.torture.report import WANTED, Wanted, commit, commit_seed


def main(arguments: Sequence[str]) -> int:
    """Torture once, or prove that each seeded bug is caught. 0 when all is as it should be."""
    options = _options(arguments)
    if options.bugs is not None:
        from tests.torture import bugs

        return bugs.prove(options.bugs, seed=options.seed, profile=options.profile, report=options.report)
    if options.simulate:
        from tests.torture import simulator

        return simulator.run(options.seed, options.simulate, bug=options.bug)
    if options.judge:
        for each in judge_all(found_in(Path(options.judge))):
            print(
                f"{each.name:44} {each.checked:8} {len(each.violations):9}",
                *each.violations[:8],
                sep="\n    ",
            )
        return 0
    harness.say(f"seed {options.seed}, commit {commit()}, profile {options.profile}")
    order = Order(
        seed=options.seed,
        profile=options.profile,
        wanted=_wanted(options),
        seconds=3600.0 if options.long else options.seconds,
        limit=7200.0 if options.long else options.limit,
        command=_again(options),
        keep=options.keep,
        bug=options.bug,
    )
    with harness.prepared(options.profile) as ground:
        report = harness.torture(order, ground)
    if options.report:
        file = Path(options.report)
        file.write_text(report.as_markdown() if file.suffix == ".md" else report.as_text() + "\n")
    print(report.as_json() if options.json else report.as_text(), flush=True)
    return 0 if report.is_green else 1


def _wanted(options: argparse.Namespace) -> Wanted:
    usual = WANTED[options.profile]
    return usual if options.kills is None else replace(usual, kills=options.kills)


def _again(options: argparse.Namespace) -> str:
    """Return the command that replays the schedule."""
    wanted = f"manage.py torture --seed {options.seed} --profile {options.profile}"
    wanted += "" if options.kills is None else f" --kills {options.kills}"
    return wanted + " --long" * options.long + (f" --bug {options.bug}" if options.bug else "")


def _seed(text: str) -> int:
    """Return the seed that ``text`` names: the same for everybody who has the same commit."""
    return commit_seed() if text == "commit" else int(text)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="manage.py torture",
        description="Kill, freeze, cut and race the real thing, and judge it by witnesses outside of it.",
    )
    parser.add_argument(
        "--seed", type=_seed, default=secrets.randbelow(10**6), metavar="N",
        help="replays a schedule; `commit` takes one from the commit",
    )  # fmt: skip
    parser.add_argument("--profile", choices=("services", "embedded"), default="services")
    parser.add_argument(
        "--kills", type=int, metavar="N", help="processes to kill at least (300; embedded: 100)"
    )
    parser.add_argument(
        "--seconds", type=float, default=60.0, metavar="S", help="faults last at least so long (60)"
    )
    parser.add_argument("--limit", type=float, default=1500.0, metavar="S", help="and at most so long (1500)")
    parser.add_argument("--long", action="store_true", help="an hour of faults")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--report", default="", metavar="FILE", help="write the table there as well")
    parser.add_argument("--keep", action="store_true", help="keep the folder with all files")
    parser.add_argument(
        "--simulate", type=int, default=0, metavar="N", help="play N worlds under a virtual clock instead"
    )
    parser.add_argument("--judge", default="", metavar="FOLDER", help="judge again what --keep has kept")
    parser.add_argument("--bug", default="", metavar="NAME", help="with one seeded bug switched on")
    parser.add_argument("--bugs", nargs="*", metavar="NAME", help="prove that every seeded bug is caught")
    return parser.parse_args(arguments)

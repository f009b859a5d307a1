"""Every workload with sizes so small that its figures mean nothing, on one service: does it all work?

Nothing is remembered.
"""

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from bench import _service
from bench._figures import Report
from bench._service import PROFILES, say
from bench._workload import Workload

SIZES: Final = {
    "runs": "--sessions 2 --seconds 0.3 --tool --model-ms 20 --alone",
    "order": "--inputs 4 --model-ms 20 --rounds 1",
    "waiting": "--runs 6 --wait-ms 1500 --sessions 2 --model-ms 50 --seconds 0.3",
    "streams": "--idle 12 --busy 4 --busy-sessions 2 --rate 8 --seconds 0.5",
    "approvals": "--approvals 2 --people 1 2",
    "deliveries": "--sessions 2 --targets 2 --runs 2",
    "ingress": "--rate 10 --seconds 0.4 --sessions 2",
    "history": "--entries 300 --runs 2",
    "finished": "--finished 250 --runs 2 --sweeps 1 --idle-seconds 0.1",
    "recovery": "--rounds 1 --sessions 2 --runs 2 --model-ms 700",
    "accept": "--sessions 2 --seconds 0.3",  # it leaves runs behind, which would disturb the others
}
"""The arguments of each workload."""


def main(arguments: Sequence[str]) -> int:
    """Run them all. 0 when nothing happened that must not."""
    parser = argparse.ArgumentParser(prog="manage.py bench smoke", description=__doc__)
    parser.add_argument("--profile", choices=PROFILES, default="embedded")
    parser.add_argument("--only", nargs="+", choices=sorted(SIZES), default=list(SIZES), metavar="NAME")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args(arguments)
    found: dict[str, Report] = {}
    workloads: dict[str, Workload] = {
        name: import_module(f"bench.{name}").WORKLOAD for name in SIZES if name in options.only
    }
    chosen = {name: workload.parser().parse_args(SIZES[name].split()) for name, workload in workloads.items()}
    settings = {
        key: value
        for name, workload in workloads.items()
        for key, value in workload.settings(chosen[name]).items()
    }
    with _service.serving(options.profile, settings) as bench:
        for name, workload in workloads.items():
            say(name)
            found[name] = workload.measure(bench, chosen[name])
            if not options.json:
                print(f"\n{name}\n\n{found[name].as_text()}")
    if options.json:
        print(json.dumps({name: report.as_json() for name, report in found.items()}))
    return 1 if any(report.problems for report in found.values()) else 0

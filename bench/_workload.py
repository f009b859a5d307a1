"""What all workloads share: options, a service, the answer for people and programs, the history."""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench import _machine, _service
from bench._figures import Report
from bench._history import remember
from bench._service import PROFILES, Bench, say

Options = argparse.Namespace
Measure = Callable[[Bench, Options], Report]


def no_options(parser: argparse.ArgumentParser) -> None:
    """Take none beside the common ones."""


def no_settings(options: Options) -> Mapping[str, str]:
    """Measure the service as it comes."""
    return {}


def no_variant(options: Options) -> str:
    """Say that all measurements of the workload are of one kind."""
    return ""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One measurement. ``measure`` does it on a running service, however small ``options`` say."""

    name: str
    about: str
    measure: Measure
    options: Callable[[argparse.ArgumentParser], None] = no_options
    settings: Callable[[Options], Mapping[str, str]] = no_settings
    profiles: Sequence[str] = ("services",)
    """Where it is measured when nobody says."""
    variant: Callable[[Options], str] = no_variant
    """What distinguishes measurements of one workload that say different things; "" for the usual one."""

    def parser(self) -> argparse.ArgumentParser:
        """Return what reads its command line."""
        parser = argparse.ArgumentParser(prog=f"manage.py bench {self.name}", description=self.about)
        parser.add_argument("--profile", nargs="+", choices=PROFILES, default=list(self.profiles))
        self.options(parser)
        parser.add_argument("--json", action="store_true", help="one JSON document")
        parser.add_argument("--forget", action="store_true", help="leave no line in bench/history.jsonl")
        return parser

    def run(self, arguments: Sequence[str]) -> int:
        """Measure, print and remember. 0 when nothing happened that must not, whatever became of the aims."""
        options = self.parser().parse_args(arguments)
        found: dict[str, Report] = {}
        machine = _machine.looked_at()
        for profile in options.profile:
            say(f"{self.name}, {profile}: starting a service")
            with _service.serving(profile, self.settings(options)) as bench:
                report = found[profile] = self.measure(bench, options)
            if not options.forget:
                how = {"profile": profile, "variant": self.variant(options), "options": _chosen(options)}
                remember(self.name, machine, {**how, **report.as_json()})
            if not options.json:
                title = " ".join(filter(None, [self.name, self.variant(options)]))
                print(f"\n{title}, {profile}\n{machine}\n\n{report.as_text()}")
        if options.json:
            print(json.dumps({profile: report.as_json() for profile, report in found.items()}))
        return 1 if any(report.problems for report in found.values()) else 0


def _chosen(options: Options) -> dict[str, object]:
    """Return the sizes that were chosen, as the history keeps them."""
    return {name: value for name, value in vars(options).items() if name not in ("json", "forget", "profile")}

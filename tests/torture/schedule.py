"""What a seed means: which process dies where and how, and what happens around them, all decided beforehand.

A *life* is one process of the service from its start to its end. Lives are dealt from shuffled decks that
hold every crash point, so each point gets its share of deaths whatever the seed. How long things take is the
machine's; what is done, in which order, is the seed's.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from kheish_site.lib.crashpoints import POINTS

Role = Literal["worker", "web", "command"]
Ending = Literal["point", "kill", "term", "freeze"]
Profile = Literal["services", "embedded"]

_PREFIXES: Final[dict[str, Role]] = {"ingress.": "web", "request.": "web", "master_key.": "command"}
_RARE: Final = (
    "telegram.taken", "effect.judged", "observation_schedule.before_commit",
    "observation_schedule.after_commit",
)  # fmt: skip
_PATIENCE_SECONDS: Final = 10.0
_MOST_SKIPPED: Final = {"claimed": 3, "model.": 3, "request.": 80, "ingress.": 8}
"""How often a process passes such a point unharmed: at most so often."""
FAULTS: Final[dict[Profile, tuple[str, ...]]] = {
    "services": (
        "postgres_restart", "connections_cut", "answer_lost", "redis_kill", "redis_flush", "redis_pause",
        "bells_doubled", "everything_restarted",
    ),
    "embedded": ("everything_restarted",),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Life:
    """One process. ``point`` is where it dies by itself; else it ends from outside after ``seconds``.

    One that is to be frozen freezes itself at ``point``, and from outside when it does not come there.

    ``also`` is a place that is seldom passed and kills it as well. ``skip`` is how often it passes ``point``
    unharmed, ``skew_seconds`` how wrong its clock is, ``cuttable`` that
    its way to the database can be cut.
    """

    role: Role
    ending: Ending
    seconds: float
    point: str = ""
    also: str = ""
    skip: int = 0
    skew_seconds: float = 0.0
    cuttable: bool = False


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something around the service fails ``after`` seconds without one, for ``seconds``."""

    kind: str
    after: float
    seconds: float


def role_of(point: str) -> Role:
    """Return which process passes ``point``."""
    return next((role for prefix, role in _PREFIXES.items() if point.startswith(prefix)), "worker")


def points_of(role: Role) -> list[str]:
    """Return every crash point that processes of ``role`` pass."""
    return [point for point in POINTS if role_of(point) == role]


def lives(seed: int, role: Role, slot: int) -> Iterator[Life]:
    """Deal lives for one place of the service, for ever."""
    chance = random.Random(f"{seed}:{role}:{slot}")
    while True:
        deck = [_armed(role, point, chance) for point in points_of(role)]
        deck += [_armed(role, point, chance) for point in points_of(role) if not point.startswith(_RARE)]
        deck += [_from_outside(role, "kill", chance) for _ in range(len(deck) // 5 + 1)]
        if role != "command":
            deck.append(_from_outside(role, "term", chance))
            where = chance.choice([point for point in points_of(role) if point not in _RARE])
            deck.append(Life(role=role, ending="freeze", point=where, seconds=chance.uniform(2.0, 6.0)))
        chance.shuffle(deck)
        yield from deck


def _armed(role: Role, point: str, chance: random.Random) -> Life:
    most = next((most for prefix, most in _MOST_SKIPPED.items() if point.startswith(prefix)), 0)
    return Life(
        role=role, ending="point", point=point, also=chance.choice(_RARE) if role == "worker" else "",
        skip=chance.randint(0, most), seconds=_PATIENCE_SECONDS, **_oddities(role, chance),
    )  # fmt: skip


def _from_outside(role: Role, ending: Ending, chance: random.Random) -> Life:
    shortest, longest = (2.0, 8.0) if role == "web" else (0.5, 4.0)
    seconds = chance.uniform(shortest, longest)  # without a web process nobody can be hurt
    return Life(role=role, ending=ending, seconds=seconds, **_oddities(role, chance))


def _oddities(role: Role, chance: random.Random) -> dict[str, Any]:
    skew = chance.choice((-20.0, 20.0)) if role == "worker" and chance.random() < 0.1 else 0.0
    return {"skew_seconds": skew, "cuttable": chance.random() < 0.5}


def faults(seed: int, profile: Profile) -> Iterator[Fault]:
    """Deal what happens around the service, for ever: each kind in every round, 5 to 40 s apart."""
    chance = random.Random(f"{seed}:faults")
    while True:
        deck = list(FAULTS[profile])
        chance.shuffle(deck)
        for kind in deck:
            yield Fault(kind=kind, after=chance.uniform(4.0, 9.0), seconds=chance.uniform(0.3, 2.5))


def planned(seed: int, role: Role, slot: int, count: int) -> list[Life]:
    """Return the first lives of one place of the service."""
    return list(islice(lives(seed, role, slot), count))

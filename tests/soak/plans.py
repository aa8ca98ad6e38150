"""What is to happen to a pipeline, and which exit codes each fault may end in: pure, from a seed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

__all__ = ["KINDS", "Fault", "Plan", "Setting", "Try", "allowed_codes", "plan"]

Where = Literal["hosts", "local", "sync"]
How = Literal["", "--resume", "--overwrite"]

KINDS: dict[str, frozenset[int]] = {
    "worker.kill": frozenset(),
    "worker.pause": frozenset(),
    "worker.leave": frozenset(),
    "worker.join": frozenset(),
    "nanny.kill": frozenset(),
    "scheduler.kill": frozenset({5}),
    "scheduler.pause": frozenset(),
    "driver.kill": frozenset({-9}),
    "driver.pause": frozenset(),
    "driver.term": frozenset({143, -15}),
    "driver.int": frozenset({130, -2}),
    "store.kill": frozenset(),
    "store.pause": frozenset(),
}
"""Each kind of fault, and how a run may end after it, besides well. What comes back in seconds ends none.

A signal that comes as the interpreter ends, when nobody listens any more, ends it as it does by default."""

_OF_SYNC = ("driver", "store")
_OF_LOCAL = ("worker.kill", "worker.pause", "driver", "store")  # its scheduler and nannies are in the driver
_TRIES = 4


@dataclass(frozen=True)
class Fault:
    """Something that happens while a step runs.

    Attributes
    ----------
    kind : str
        Of `KINDS`.
    share : float
        Of the writes of the step before it happens; more than 1 may never come.
    delay : float
        Seconds from that write; 0 for the moment at which it comes in.
    seconds : float
        Until what was harmed goes on, or is started again.
    pick : int
        Which of several, modulo their number.
    """

    kind: str
    share: float
    delay: float
    seconds: float
    pick: int


@dataclass(frozen=True)
class Setting:
    """Where the tasks run: on a scheduler and workers as processes, on dkmeans' own, or in the driver."""

    where: Where
    n_workers: int = 1
    nanny: bool = False
    late: float = 0.0  # seconds after which the workers are started


@dataclass(frozen=True)
class Try:
    """A run of a step: with which option, and what happens to it."""

    how: How
    faults: tuple[Fault, ...]


@dataclass(frozen=True)
class Plan:
    """The tries of each step, the last without faults; a step needs no more tries once it has ended well.

    Attributes
    ----------
    setting : Setting
    tries : tuple of tuple of Try
    again : tuple of bool
        Whether the finished step is run once more with --resume, which has to change nothing.
    """

    setting: Setting
    tries: tuple[tuple[Try, ...], ...]
    again: tuple[bool, ...]


def plan(seed: int, n_steps: int, kinds: Collection[str] = tuple(KINDS)) -> Plan:
    """The plan of this seed for a pipeline of so many steps, of faults of these kinds."""
    random = np.random.default_rng([seed, 2])
    setting = _setting(random)
    possible = [kind for kind in KINDS if kind in kinds and _is_possible(kind, setting)]
    tries = tuple(_tries(random, possible) for _ in range(n_steps))
    return Plan(setting, tries, tuple(bool(random.random() < 0.1) for _ in range(n_steps)))


def _setting(random: Generator) -> Setting:
    where: Where = random.choice(["hosts", "hosts", "hosts", "local", "local", "sync"])
    n_workers = int(random.integers(1, 4 if where == "hosts" else 3))
    late = float(random.uniform(0, 6)) if random.random() < 0.2 else 0.0
    return Setting(str(where), n_workers, bool(random.random() < 0.4), late)  # type: ignore[arg-type]


def _is_possible(kind: str, setting: Setting) -> bool:
    if setting.where == "hosts":
        return kind != "nanny.kill" or setting.nanny
    return kind.startswith(_OF_SYNC if setting.where == "sync" else _OF_LOCAL)


def _tries(random: Generator, possible: Sequence[str]) -> tuple[Try, ...]:
    made = []
    for number in range(_TRIES):
        how: How = "" if number == 0 else "--resume" if random.random() < 0.8 else "--overwrite"
        n_faults = 0 if number == _TRIES - 1 or not possible else int(random.choice([1, 1, 2, 3]))
        faults = sorted((_fault(random, possible) for _ in range(n_faults)), key=lambda fault: fault.share)
        made.append(Try(how, tuple(faults)))
    return tuple(made)


def _fault(random: Generator, possible: Sequence[str]) -> Fault:
    return Fault(
        kind=str(random.choice(possible)),
        share=round(float(random.uniform(0, 1.05)), 3),
        delay=round(float(random.exponential(0.2)), 3) if random.random() < 0.5 else 0.0,
        seconds=round(float(random.uniform(0.5, 8)), 1),
        pick=int(random.integers(64)),
    )


def allowed_codes(kinds: Collection[str]) -> frozenset[int]:
    """How a run may end to which faults of these kinds have happened."""
    return frozenset({0}).union(*(KINDS[kind] for kind in kinds))

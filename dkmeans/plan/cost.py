"""What a stage costs: seconds from counts and the rates of a machine. Pure arithmetic, as in all the room."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = [
    "Iterations",
    "Machine",
    "Rates",
    "StagePlan",
    "StepRate",
    "StoreRate",
    "Total",
    "expected_iterations",
    "interpolate",
    "shared_seconds",
    "total_of",
]

_USUAL_GAIN = 2e-5
_ITERATIONS = {"pixels": ((16, 16), (64, 31), (256, 28)), "patches": ((100, 66), (1_000, 55), (10_000, 45))}
"""Iterations after which ``--min-gain`` ended fits of so many clusters; see docs/performance.md."""
_FEWER, _MORE = 0.6, 1.6
"""How far fits of other data were from these."""
_GAIN_POWER = -0.4
"""A gain that is asked for 2.5 times as large ends fits of patches after 0.6 and 0.8 of the iterations."""
_SEED_POWER = 1.4
"""Seeds of more clusters than were measured: from 1,000 to 10,000 of patches they took 28 times as long."""


@dataclass(frozen=True)
class StepRate:
    """The Lloyd step at one point, on as many threads at once as the machine has cores.

    Attributes
    ----------
    n_features, n_clusters : int
    row_ns : float
        Nanoseconds a row and thread of an iteration, the mean of several.
    label_ns : float
        The same of a first search, before anything is known of the rows.
    block_seconds : float
        Of a block in each iteration, however few rows it has: lists of centers near each center.
    seed_seconds : float
        Of the first centers, from their bounded sample of the rows.
    """

    n_features: int
    n_clusters: int
    row_ns: float
    label_ns: float
    block_seconds: float
    seed_seconds: float


@dataclass(frozen=True)
class StoreRate:
    """A place of storage: MiB of arrays a second, as decoded and by all threads, and one small request."""

    url: str
    write_mib: float
    read_mib: float
    request_seconds: float


@dataclass(frozen=True)
class Rates:
    """The rates of a machine; nanoseconds are those of one thread while all cores are busy.

    Attributes
    ----------
    steps : tuple of StepRate
        Of rows of uint8, at least one.
    decode_ns : mapping of str to float
        A pixel of an image file; ``jpeg``, ``png`` and ``stack``.
    decode_mib : mapping of str to float
        MiB of files a second and thread; an image takes the longer of both.
    count_ns, table_seconds : float
        A pixel whose color is counted, and the table of all colors for a block of them.
    lookup_ns : float
        A pixel that gets the code of a color that is known.
    compare_ns : float
        A pixel that is put together from its code and compared with the original.
    indexed_ns, full_ns : float
        A pixel of a PNG file with a palette, and of one without, at the default effort.
    file_seconds : float
        Of a PNG file, besides its pixels.
    cut_ns, join_ns : float
        A value of patches that are cut from images, and that images are put together from.
    header_seconds : float
        Of an image that is found and whose header is read.
    round_seconds : mapping of str to float
        An iteration next to no rows: the way there and back; ``threads`` and ``local``.
    start_seconds : mapping of str to float
        ``process``, ``cluster``, what the first run of a stage loads by its name, and ``seeds``: dask-ml,
        which some seeds load.
    stores : tuple of StoreRate
        At least one; the first is a local folder.
    """

    steps: tuple[StepRate, ...]
    decode_ns: Mapping[str, float]
    decode_mib: Mapping[str, float]
    count_ns: float
    table_seconds: float
    lookup_ns: float
    compare_ns: float
    indexed_ns: float
    full_ns: float
    file_seconds: float
    cut_ns: float
    join_ns: float
    header_seconds: float
    round_seconds: Mapping[str, float]
    start_seconds: Mapping[str, float]
    stores: tuple[StoreRate, ...]

    def step(self, n_features: int, n_clusters: int) -> StepRate:
        """The step at any point: between those measured along straight lines of logarithms.

        First along the number of clusters, then along that of features. Beyond the ends in proportion to the
        features, and to the clusters with the power of the last two points there; of a single one to them.
        """
        widths = sorted({rate.n_features for rate in self.steps})
        names = ("row_ns", "label_ns", "block_seconds", "seed_seconds")
        found = {}
        for name in names:
            power = _SEED_POWER if name == "seed_seconds" else None
            by_width = [(width, self._at(width, n_clusters, name, power)) for width in widths]
            found[name] = interpolate(by_width, n_features, beyond=1.0)
        return StepRate(n_features, n_clusters, **found)

    def _at(self, width: int, n_clusters: int, name: str, power: float | None) -> float:
        points = [(rate.n_clusters, getattr(rate, name)) for rate in self.steps if rate.n_features == width]
        return interpolate(sorted(points), n_clusters, beyond=power)

    def store(self, url: str) -> StoreRate:
        """Of the place that was measured and has most of its URL in common with `url`; else the first."""
        inside = [rate for rate in self.stores[1:] if f"{url}/".startswith(f"{rate.url.rstrip('/')}/")]
        return max(inside, key=lambda rate: len(rate.url), default=self.stores[0])


def interpolate(points: Sequence[tuple[float, float]], at: float, beyond: float | None = None) -> float:
    """A value between points that ascend, along straight lines of logarithms.

    Parameters
    ----------
    points : sequence of (x, y)
        All x above 0; a y of 0 counts as very little.
    at : float
    beyond : float or None
        Power of x outside of the points; None takes that of the last two, but at least 0, and 1 of one.
    """
    logs = [(math.log(x), math.log(max(y, 1e-12))) for x, y in points]
    x = math.log(at)
    slopes = [(high[1] - low[1]) / (high[0] - low[0]) for low, high in pairwise(logs)]
    for ((low, y), (high, _)), slope in zip(pairwise(logs), slopes, strict=True):
        if low <= x <= high:
            return math.exp(y + (x - low) * slope)
    last = -1 if x > logs[-1][0] else 0
    power = beyond if beyond is not None else max(0.0, slopes[last]) if slopes else 1.0
    return math.exp(logs[last][1] + (x - logs[last][0]) * power)


@dataclass(frozen=True)
class Machine:
    """Where a job will run.

    Attributes
    ----------
    workers : int
        Processes; 1 for this one.
    threads : int
        Of each.
    kind : {"threads", "local"}
        Within this process, or in others.
    """

    workers: int
    threads: int
    kind: str

    @property
    def n_threads(self) -> int:
        """Tasks that run at a time."""
        return self.workers * self.threads


def shared_seconds(seconds: float, n_threads: int, largest: float) -> float:
    """Seconds of tasks that take `seconds` one after the other, the longest of them `largest`, on threads."""
    return max(seconds / n_threads, min(seconds, largest))


@dataclass(frozen=True)
class Iterations:
    """How many iterations are expected: the number, and between which numbers."""

    least: int
    expected: int
    most: int

    def __str__(self) -> str:
        if self.least == self.most:
            return f"{self.most}"
        return f"~{self.expected} ({self.least}-{self.most})"


def expected_iterations(on: str, n_clusters: int, max_iter: int, min_gain: float) -> Iterations:
    """How many iterations a fit of pixels or patches may take; ``max_iter`` where nothing tells."""
    if not min_gain:
        return Iterations(1, max_iter, max_iter)
    points = _ITERATIONS[on]
    usual = interpolate(points, min(max(n_clusters, points[0][0]), points[-1][0]))
    wanted = usual * (min_gain / _USUAL_GAIN) ** _GAIN_POWER
    least, expected, most = (min(max_iter, max(1, round(wanted * share))) for share in (_FEWER, 1.0, _MORE))
    return Iterations(least, expected, most)


@dataclass(frozen=True)
class StagePlan:
    """What one stage will do, and take.

    Attributes
    ----------
    stage, output : str
        Name of the stage, and URL of what it writes.
    n_images, n_rows : int
    n_features, n_clusters : int
        Of the rows, 0 where there are none; the most clusters.
    bytes_in : int
        As it lies in storage for images, as decoded for arrays, each time that it is read.
    bytes_out : int
        At most: as decoded; what is written is compressed.
    n_blocks : int
        Tasks of the part that has most of the work.
    memory_bytes : int
        Of a worker, with its libraries.
    iterations : Iterations or None
    n_gets, n_puts : int
        Requests of an object store, of one PUT for an object of any size.
    parts : mapping of str to float
        Seconds of each part.
    """

    stage: str
    output: str
    n_images: int = 0
    n_rows: int = 0
    n_features: int = 0
    n_clusters: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    n_blocks: int = 0
    memory_bytes: int = 0
    iterations: Iterations | None = None
    n_gets: int = 0
    n_puts: int = 0
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Expected, of all parts."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Total:
    """What all stages of a job take, with the start of the process and of its workers."""

    n_images: int
    bytes_in: int
    bytes_out: int
    n_gets: int
    n_puts: int
    start_seconds: float
    seconds: float
    price: float | None


def total_of(
    plans: Sequence[StagePlan], start_seconds: float, machine: Machine, price_per_hour: float | None
) -> Total:
    """Add up stages; the price is that of all workers for all seconds, each for so much an hour."""
    seconds = start_seconds + sum(plan.seconds for plan in plans)
    price = None if price_per_hour is None else price_per_hour * machine.workers * seconds / 3600
    sums = {
        name: sum(getattr(plan, name) for plan in plans)
        for name in ("bytes_in", "bytes_out", "n_gets", "n_puts")
    }
    n_images = max((plan.n_images for plan in plans), default=0)
    return Total(n_images, **sums, start_seconds=start_seconds, seconds=seconds, price=price)

"""What a job will do and is expected to take, as a table before it runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from dkmeans.command.job import JobConfig, RunConfig
from dkmeans.command.options import option
from dkmeans.command.registry import STAGES, Stage
from dkmeans.config.base import StageConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.storage.urls import resolve_url

if TYPE_CHECKING:
    from dkmeans.compute.rates import Calibration
    from dkmeans.plan.cost import Machine, StagePlan

__all__ = [
    "JobPlan",
    "output_of",
    "pixels_of",
    "plan_job",
    "plan_stages",
    "planning_parameters",
    "stages_of",
    "wants_plan",
]

_OPTIONS = ("dry_run", "price_per_hour")
_OUTPUTS = ("sweep", "cut", "result", "codebook", "destination", "out", "images", "dataset")
_HEADS = (
    *("stage", "images", "rows", "in", "out", "blocks", "memory"),
    *("iterations", "GET", "PUT", "seconds", "writes"),
)
_UNKNOWN = "-"


def planning_parameters() -> list[inspect.Parameter]:
    """The options ``--dry-run`` and ``--price-per-hour`` of a stage that can be planned."""
    return [option(name, RunConfig.model_fields[name]) for name in _OPTIONS]


def wants_plan(given: Mapping[str, Any]) -> bool:
    """Whether a command is only to say what it would do.

    Raises
    ------
    UsageError
        If a price is given and it is not.
    """
    price = given.get("price_per_hour")
    RunConfig(job="", price_per_hour=price)  # of a stage it is checked nowhere else
    if price is not None and not given.get("dry_run"):
        raise UsageError(
            "--price-per-hour: found it without --dry-run; expected both. Pass --dry-run, or leave it out."
        )
    return bool(given.get("dry_run"))


def stages_of(job: JobConfig) -> Iterator[tuple[Stage, Any]]:
    """Each stage and its options, in the order in which they run."""
    for stage in STAGES:
        for config in job.stages.get(stage.name, ()):
            yield stage, config


@dataclass(frozen=True)
class JobPlan:
    """What a job is expected to do.

    Attributes
    ----------
    stages : list of dict
        Of each stage its `dkmeans.plan.cost.StagePlan`, with ``seconds``; of one that finds out as it goes
        only ``stage`` and ``output``.
    total : dict
        Of those that are known, a `dkmeans.plan.cost.Total`.
    machine : dict
    rates : str
        Whose rates the seconds are from; where a GPU would be used, also that they are not of one.
    """

    stages: list[dict[str, Any]]
    total: dict[str, Any]
    machine: dict[str, Any]
    rates: str

    def summary(self) -> list[str]:
        """A table, a line a stage, and the total."""
        from dkmeans.events import words

        rows = [_HEADS, *(_row(stage) for stage in self.stages)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS) - 1)]
        lines = [
            "  ".join(
                [row[0].ljust(widths[0])]
                + [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:], strict=True)]
                + [row[-1]]
            ).rstrip()
            for row in rows
        ]
        total, unknown = self.total, [each["stage"] for each in self.stages if "parts" not in each]
        parts = [
            f"{words.integer(total['n_images'])} images",
            f"{words.size(total['bytes_in'])} in",
            f"at most {words.size(total['bytes_out'])} out",
            f"~{words.integer(total['n_gets'])} GET, ~{words.integer(total['n_puts'])} PUT",
            f"~{words.seconds(total['seconds'])}, of it {words.seconds(total['start_seconds'])} to start",
        ]
        if total["price"] is not None:
            parts.append(f"~{total['price']:.2g} at the given price")
        lines.append(f"total: {'; '.join(parts)}")
        if unknown:
            lines.append(f"without {', '.join(unknown)}: these find out as they go")
        workers, threads = self.machine["workers"], self.machine["threads"]
        where = "in this process" if self.machine["kind"] == "threads" else f"on {workers} workers"
        return [*lines, f"{threads} threads each {where}; {self.rates}"]


def _row(stage: dict[str, Any]) -> tuple[str, ...]:
    """The cells of one stage."""
    from dkmeans.events import words
    from dkmeans.plan.cost import Iterations

    if "parts" not in stage:
        return (stage["stage"], *[_UNKNOWN] * (len(_HEADS) - 2), _short(stage["output"]))
    iterations = stage["iterations"]
    rounds = str(Iterations(**iterations)) if iterations else _UNKNOWN
    return (
        stage["stage"],
        words.integer(stage["n_images"]),
        words.integer(stage["n_rows"]),
        words.size(stage["bytes_in"]),
        words.size(stage["bytes_out"]),
        words.integer(stage["n_blocks"]),
        words.size(stage["memory_bytes"]),
        rounds,
        words.integer(stage["n_gets"]),
        words.integer(stage["n_puts"]),
        f"~{words.number(stage['seconds'])}",
        _short(stage["output"]),
    )


def _short(url: str) -> str:
    """A path below the current folder as it is from there; other URLs as they are."""
    here = f"{resolve_url('.')}/"
    return url.removeprefix(here)


def plan_job(job: JobConfig, price_per_hour: float | None = None) -> JobPlan:
    """Plan all stages of `job`; nothing is written.

    Raises
    ------
    InputError
        If what a stage reads is missing, and no stage before makes it.
    """
    from dkmeans import kernels
    from dkmeans.compute.rates import load_rates
    from dkmeans.plan.cost import total_of

    calibration = load_rates()
    machine = machine_of(job)
    planned = plan_stages(job, calibration)
    starts = calibration.rates.start_seconds
    start = starts["process"] + (starts["cluster"] if machine.kind == "local" else 0.0)
    known = [plan for plan, _ in planned if plan is not None]
    stages = [
        (asdict(plan) | {"seconds": plan.seconds} if plan else {"stage": stage.name})
        | {"output": output_of(config)}
        for plan, (stage, config) in planned
    ]
    total = asdict(total_of(known, start, machine, price_per_hour))
    rates = calibration.told
    if job.cluster.device == "gpu" or kernels.uses_gpu(job.cluster.device):
        rates += "; the seconds are those of processors: on a GPU a fit has fewer blocks, and takes others"
    return JobPlan(stages, total, asdict(machine), rates)


def plan_stages(
    job: JobConfig, calibration: Calibration, n_looked_at: int | None = None
) -> Sequence[tuple[StagePlan | None, tuple[Stage, Any]]]:
    """Plan each stage that can be, with the stage and its options; see `Shapes` for `n_looked_at`."""
    from dkmeans.stages import preview
    from dkmeans.stages.shared.setting import Setting
    from dkmeans.stages.shared.shapes import Shapes

    shapes = Shapes((config for _, config in stages_of(job)), n_looked_at)
    setting = Setting(shapes, calibration.rates, machine_of(job))
    planned = []
    loads = dict(calibration.rates.start_seconds)
    for stage, config in stages_of(job):
        plan = getattr(preview, stage.plan)(config, setting) if stage.plan else None
        planned.append((plan and _with_loads(plan, loads), (stage, config)))
    return planned


def _with_loads(plan: StagePlan, loads: dict[str, float]) -> StagePlan:
    """A plan with what the stage loads, which is taken from `loads`: the next one finds it loaded."""
    first = {"load": loads.pop("fit" if plan.stage == "sweep" else plan.stage, 0.0)}
    if "dask-ml" in plan.parts:
        first["dask-ml"] = loads.pop("seeds", 0.0)
    return replace(plan, parts={**plan.parts, **first})


def output_of(config: StageConfig) -> str:
    """The URL of what a stage writes."""
    return next((resolve_url(found) for name in _OUTPUTS if (found := getattr(config, name, None))), "")


def machine_of(job: JobConfig) -> Machine:
    """Where a job runs; behind an address of a scheduler as many workers as given, each like this one."""
    from dkmeans.compute.connecting import decided
    from dkmeans.compute.memory import n_cores
    from dkmeans.plan.cost import Machine

    cluster = decided(job.cluster, lambda: pixels_of(job))
    if cluster.scheduler in ("threads", "sync"):
        return Machine(1, n_cores() if cluster.scheduler == "threads" else 1, "threads")
    shared = n_cores() // cluster.workers if cluster.scheduler == "local" else n_cores()
    return Machine(cluster.workers, cluster.threads_per_worker or max(1, shared), "local")


def pixels_of(job: JobConfig) -> int:
    """About how many pixels there are in the images, and the datasets, that a job finds."""
    from dkmeans.artefacts.dataset import open_dataset
    from dkmeans.images.sources import estimate_pixels, open_source

    def tell(option: str, count: Callable[[str], int]) -> int:
        total = 0
        urls = {getattr(config, option, None) for configs in job.stages.values() for config in configs}
        for url in filter(None, urls):
            with suppress(InputError):  # what an earlier stage makes is not there yet
                total += count(url)
        return total

    sources = tell("source", lambda url: estimate_pixels(open_source(url)))
    return sources or tell("dataset", lambda url: open_dataset(url).manifest.n_pixels)

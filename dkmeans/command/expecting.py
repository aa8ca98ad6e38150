"""What each stage of a job was expected to take, beside what it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dkmeans.command.job import JobConfig
from dkmeans.command.planning import output_of, plan_stages, stages_of
from dkmeans.config.base import StageConfig
from dkmeans.errors import DkmeansError
from dkmeans.events.reporter import Reporter

__all__ = ["Expected", "expectations"]

_LOOKED_AT = 64
"""Images whose headers are read for it: a job is not to be held up."""


class Expected:
    """Expected and measured seconds of each stage of a job, in order.

    Attributes
    ----------
    lines : list of dict
        ``stage``, ``output``, ``expected_seconds`` (None where nothing is known before) and ``seconds``.
    """

    def __init__(self, lines: Sequence[dict[str, Any]], rates: str) -> None:
        self._left = list(lines)
        self._rates = rates
        self.lines: list[dict[str, Any]] = []

    def took(self, seconds: float) -> None:
        """The next stage is done, after so many seconds."""
        self.lines.append({**self._left.pop(0), "seconds": seconds})

    def tell(self, reporter: Reporter) -> None:
        """Say it, a line a stage."""
        from dkmeans.events import words

        for line in self.lines:
            expected = line["expected_seconds"]
            told = "nothing was expected" if expected is None else f"expected {words.seconds(expected)}"
            reporter.say(f"{line['stage']} {line['output']}: {told}, took {words.seconds(line['seconds'])}")
        if any(line["expected_seconds"] is not None for line in self.lines):
            reporter.say(f"expected by the {self._rates}")


def expectations(job: JobConfig) -> Expected:
    """What a job is expected to take, by a look at some of its images.

    Of a stage nothing is expected that goes on with what is there, or that cannot be planned.
    """
    from dkmeans.compute.rates import load_rates

    calibration = load_rates()
    try:
        planned = plan_stages(job, calibration, _LOOKED_AT)
        seconds = [
            None if plan is None or _goes_on(config) else plan.seconds for plan, (_, config) in planned
        ]
    except DkmeansError:  # the run will say why
        seconds = [None for _ in stages_of(job)]
    lines = [
        {"stage": stage.name, "output": output_of(config), "expected_seconds": each}
        for each, (stage, config) in zip(seconds, stages_of(job), strict=True)
    ]
    return Expected(lines, calibration.told)


def _goes_on(config: StageConfig) -> bool:
    """Whether a stage may find a part of its work done."""
    from dkmeans.storage.store import open_store  # here, so that --help does not load the libraries

    if not any(getattr(config, name, False) for name in ("resume", "update", "once")):
        return False
    return bool(open_store(output_of(config)).list("claim"))

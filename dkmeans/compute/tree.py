"""Values of many tasks combined: on the workers, a few at a time, the last few here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask.delayed import Delayed, delayed

from dkmeans.compute.executor import Executor

__all__ = ["combined", "reduced"]

_FAN_IN = 8
"""Values that are combined at a time."""


def combined(function: Callable[[list[Any]], Any], values: list[Any]) -> Any:
    """The value that `reduced` makes of tasks that have these values: sums of floats round the same."""
    while len(values) > _FAN_IN:
        values = [function(values[start : start + _FAN_IN]) for start in range(0, len(values), _FAN_IN)]
    return function(values)


def reduced(
    executor: Executor,
    function: Callable[[list[Any]], Any],
    tasks: list[Delayed],
    check: Callable[[Any], None] | None = None,
) -> Any:
    """The value that `function` makes of the values of `tasks`, always in the same order.

    The last few come here as they are: one more task on a worker would cost more time than their transfer.
    `check` sees these as they come, as in `Executor.run`.
    """
    combine = delayed(function)
    while len(tasks) > _FAN_IN:
        tasks = [combine(tasks[start : start + _FAN_IN]) for start in range(0, len(tasks), _FAN_IN)]
    return function(executor.run(tasks, check=check))

"""Seconds of a piece of work on all cores at once, as it is in a job."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dkmeans.compute.memory import n_cores
from dkmeans.compute.threads import call_all

__all__ = ["seconds_each", "seconds_of"]

_AT_LEAST = 0.1
_MOST_TIMES = 50


def seconds_of(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of some work; the least of a few times, after one that loads and compiles what it needs.

    The least, as what else the machine does can only add to it.
    """
    work()
    began = time.perf_counter()
    found: list[float] = []
    while len(found) < _MOST_TIMES and time.perf_counter() - began < _AT_LEAST:
        start = clock()
        work()
        found.append(clock() - start)
    return min(found)


def seconds_each(work: Callable[[], Any]) -> float:
    """Seconds of the processor of work that all cores do at once, each the whole of it.

    So what else the machine does is left out, though not what it takes from caches and the bus of memory.
    """
    threads = n_cores()
    return seconds_of(lambda: call_all([work] * threads, threads), time.process_time) / threads

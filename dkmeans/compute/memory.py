"""The memory and the cores that this process may take: those of the machine, or less where it is limited."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["memory_limit", "n_cores"]

_GROUPS = (
    *("memory/memory.limit_in_bytes", "memory/memory.soft_limit_in_bytes"),  # version 1 of control groups
    *("memory.max", "memory.high", "memory.low"),  # version 2
)


def memory_limit(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may take; 0 where nothing tells.

    The least of the machine's memory, what its control group allows, and what ``ulimit -m`` does, as Dask
    takes for its workers. Dask's own number would load all of distributed.

    Parameters
    ----------
    groups : Path
        Where the kernel shows control groups.
    """
    limits = [_of_file(groups / name) for name in _GROUPS]
    if sys.platform != "win32":
        import resource

        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        limits.append(resource.getrlimit(resource.RLIMIT_RSS)[1])  # below 0 for none
    return min((limit for limit in limits if limit > 0), default=0)


def _of_file(path: Path) -> int:
    """The number in a file; 0 where there is none, such as for ``max``."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0


def n_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

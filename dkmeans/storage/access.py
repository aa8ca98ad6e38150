"""How a job reaches its storage, which goes with each of its tasks, and what each process has done for it."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace

__all__ = [
    "Access",
    "Tally",
    "count",
    "current_access",
    "storage_options",
    "tallies_of_stages",
    "tally_of",
    "using",
]


@dataclass
class Tally:
    """What one process has done for one job, or in one stage of any job; what was done twice counts twice.

    Attributes
    ----------
    bytes_read, bytes_written : int
        As they lie in storage.
    retries : int
        Requests, tasks and parts of a round that failed and were done again, or given up.
    rows : float
        Rows that were assigned to their nearest centers, each as often as it counts.
    images_read, images_written : int
        Images that were decoded, and images that were made again from centers or codes.
    images_skipped : int
        Images that cannot be used, which the driver counts.
    """

    bytes_read: int = 0
    bytes_written: int = 0
    retries: int = 0
    rows: float = 0
    images_read: int = 0
    images_written: int = 0
    images_skipped: int = 0

    def add(self, **more: float) -> None:
        """Count some more; the names are those of the attributes."""
        with _ADDING:
            for name, n in more.items():
                setattr(self, name, getattr(self, name) + n)

    def numbers(self) -> dict[str, float]:
        """All of it by name."""
        with _ADDING:
            return dict(vars(self))


@dataclass(frozen=True)
class Access:
    """How a job reaches its storage; goes with each of its tasks.

    Attributes
    ----------
    options : tuple of (str, str)
        Options of obstore, by name. Kept out of the repr, as they may be secrets.
    job : str
        Under which is counted what is done.
    stage : str
        The same, of all jobs of a process.
    in_task : bool
        Whether it is a task's: then the driver has found that the storage can be reached.
    """

    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    job: str = ""
    stage: str = ""
    in_task: bool = False


_PLAIN = Access()
_ACCESS: ContextVar[Access] = ContextVar("access", default=_PLAIN)
_OF_JOBS: OrderedDict[str, Tally] = OrderedDict()
_MOST_JOBS = 256
"""Jobs that a process counts for; a worker that lives long forgets those that it has not met for longest."""
_OF_STAGES: dict[str, Tally] = {}
_LOCK = threading.Lock()
_ADDING = threading.Lock()


def current_access() -> Access:
    """How this thread reaches storage just now."""
    return _ACCESS.get()


@contextmanager
def using(access: Access) -> Iterator[None]:
    """Reach storage in this way."""
    token = _ACCESS.set(access)
    try:
        yield
    finally:
        _ACCESS.reset(token)


@contextmanager
def storage_options(options: Mapping[str, str]) -> Iterator[None]:
    """Reach storage with these options, besides those of the environment.

    Parameters
    ----------
    options : mapping of str to str
        Names as obstore has them. One that begins with ``aws_``, ``google_`` or ``azure_`` is for such a
        store only; another is for every store but local ones.

    Yields
    ------
    None
        As a context manager: the options hold within ``with``.
    """
    merged = {**dict(current_access().options), **{key.lower(): value for key, value in options.items()}}
    given = replace(current_access(), options=tuple(sorted(merged.items())), job=uuid.uuid4().hex)
    with using(given):
        yield


def count(where: Access | None = None, **more: float) -> None:
    """Count what this process has done, for the job and the stage of this thread or of another access."""
    access = where or current_access()
    with _LOCK:
        of_stage = _OF_STAGES.setdefault(access.stage, Tally())
    of_stage.add(**more)
    tally_of(access.job).add(**more)


def tally_of(job: str) -> Tally:
    """Find what this process has done for a job, if it has met that lately."""
    with _LOCK:
        found = _OF_JOBS.setdefault(job, Tally())
        _OF_JOBS.move_to_end(job)
        if len(_OF_JOBS) > _MOST_JOBS:
            _OF_JOBS.popitem(last=False)
        return found


def tallies_of_stages() -> dict[str, dict[str, float]]:
    """Tell what this process has done in each stage since it began, for all jobs together."""
    with _LOCK:
        found = dict(_OF_STAGES)
    return {stage: tally.numbers() for stage, tally in found.items()}

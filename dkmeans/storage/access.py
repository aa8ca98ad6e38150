"""How a job reaches its storage, and what it has moved there; goes with each of its tasks."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

__all__ = ["Access", "Traffic", "current_access", "storage_options", "traffic_of", "using"]


@dataclass
class Traffic:
    """Bytes that one process has moved for one job.

    Attributes
    ----------
    read, written : int
        Bytes as they lie in storage.
    failed : int
        Tasks that ended in an error; the scheduler runs each once or twice more.
    """

    read: int = 0
    written: int = 0
    failed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, *, read: int = 0, written: int = 0, failed: int = 0) -> None:
        """Count some more."""
        with self.lock:
            self.read += read
            self.written += written
            self.failed += failed


@dataclass(frozen=True)
class Access:
    """How a job reaches its storage; goes with each of its tasks.

    Attributes
    ----------
    options : tuple of (str, str)
        Options of obstore, by name. Kept out of the repr, as they may be secrets.
    job : str
        Under which the traffic is counted.
    in_task : bool
        Whether it is a task's: then the driver has found that the storage can be reached.
    """

    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    job: str = ""
    in_task: bool = False


_PLAIN = Access()
_ACCESS: ContextVar[Access] = ContextVar("access", default=_PLAIN)
_TRAFFIC: OrderedDict[str, Traffic] = OrderedDict()
_MOST_JOBS = 256
"""Jobs that a process counts for; a worker that lives long forgets those that it has not met for longest."""
_LOCK = threading.Lock()


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
    """
    merged = {**dict(current_access().options), **{key.lower(): value for key, value in options.items()}}
    with using(Access(tuple(sorted(merged.items())), uuid.uuid4().hex)):
        yield


def traffic_of(job: str) -> Traffic:
    """Find what this process has moved for a job, if it has met that lately."""
    with _LOCK:
        found = _TRAFFIC.setdefault(job, Traffic())
        _TRAFFIC.move_to_end(job)
        if len(_TRAFFIC) > _MOST_JOBS:
            _TRAFFIC.popitem(last=False)
        return found

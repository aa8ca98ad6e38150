"""What a plan is made from, besides the options of a stage: shapes, rates, a machine."""

from __future__ import annotations

from dataclasses import dataclass

from dkmeans import plan
from dkmeans.compute.executor import IMPORTED_BYTES
from dkmeans.plan.cost import Machine, Rates, shared_seconds
from dkmeans.stages.shared.shapes import Shapes
from dkmeans.storage.urls import is_local, resolve_url

__all__ = ["Setting", "asked"]


@dataclass(frozen=True)
class Setting:
    """What a plan is made from, besides the options of the stage."""

    shapes: Shapes
    rates: Rates
    machine: Machine

    def reads(self, url: str, n_bytes: float) -> float:
        """Seconds of one thread that reads so many bytes of arrays."""
        return self.machine.n_threads * n_bytes / plan.MIB / self.rates.store(resolve_url(url)).read_mib

    def writes(self, url: str, n_bytes: float) -> float:
        """Seconds of one thread that writes so many bytes of arrays."""
        return self.machine.n_threads * n_bytes / plan.MIB / self.rates.store(resolve_url(url)).write_mib

    def shared(self, seconds: float, n_rows: float, rows_of_task: float) -> float:
        """Seconds of tasks of so many rows each, that take `seconds` one after the other."""
        largest = seconds * min(1.0, rows_of_task / max(1, n_rows))
        return shared_seconds(seconds, self.machine.n_threads, largest)

    def requests(self, url: str, n: int) -> float:
        """Seconds of so many requests, one after the other."""
        return n * self.rates.store(resolve_url(url)).request_seconds

    def memory(self, rows: int, task: int) -> int:
        """Bytes of a worker: its libraries, its share of rows that stay, and a task of each thread."""
        return IMPORTED_BYTES + rows // self.machine.workers + self.machine.threads * task


def asked(url: str, n: int) -> int:
    """Requests of a place: none of a local folder."""
    return 0 if is_local(resolve_url(url)) else n

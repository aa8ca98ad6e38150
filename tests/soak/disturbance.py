"""Faults at their writes and moments, and what mends them: while one try of a step runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from soak.plans import Fault
from soak.scene import Mend, Scene

__all__ = ["Disturbance"]


@dataclass
class Disturbance:
    """Does the faults of one try; `wrote` is called at each write, from whatever thread.

    Attributes
    ----------
    scene : Scene
    faults : sequence of Fault
    n_writes : int
        That the step is expected to make.
    say : callable
        Writes a line of the log.
    happened : list of str
        The kinds of the faults that have happened.
    errors : list of str
        What went wrong with the faults themselves.
    """

    scene: Scene
    faults: Sequence[Fault]
    n_writes: int
    say: Callable[[str], None]
    happened: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    _count: int = 0
    _over: bool = False
    _timers: list[threading.Timer] = field(default_factory=list)
    _mends: list[Mend] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self._pending = [(1 + int(fault.share * self.n_writes), fault) for fault in self.faults]

    @property
    def has_store_faults(self) -> bool:
        """Whether whoever reads may have to wait long for an answer."""
        return any(fault.kind.startswith("store") for fault in self.faults)

    def wrote(self, count: int | None = None) -> None:
        """One more write comes in, or so many have been seen."""
        with self._lock:
            self._count = self._count + 1 if count is None else count
            due = [fault for number, fault in self._pending if number <= self._count]
            self._pending = [(number, fault) for number, fault in self._pending if number > self._count]
            for fault in due:
                self.say(f"write {self._count}: {fault.kind} after {fault.delay} s, for {fault.seconds} s")
                if fault.delay:
                    self._later(fault.delay, partial(self._do, fault))
                else:
                    self._do(fault)

    def _do(self, fault: Fault) -> None:
        with self._lock:
            if self._over:
                return
            mend = self.scene.harm(fault)
            if mend is None:
                self.say(f"  {fault.kind}: nobody there")
                return
            self.say(f"  {fault.kind}: done")
            self.happened.append(fault.kind)
            self._mends.append(mend)
            self._later(fault.seconds, partial(self._mend, mend, fault.kind))

    def _mend(self, mend: Mend, kind: str) -> None:
        with self._lock:
            if mend not in self._mends:
                return
            self._mends.remove(mend)
        mend()  # which takes seconds, in which writes go on
        self.say(f"  {kind}: mended")

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, self._noting_errors, (act,))
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    def _noting_errors(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}")

    def finish(self) -> None:
        """Do no more, and mend what is not."""
        with self._lock:
            self._over = True
            timers, mends = list(self._timers), list(self._mends)
        for timer in timers:
            timer.cancel()
        for timer in timers:
            timer.join()
        for mend in mends:
            self._noting_errors(partial(self._mend, mend, "at the end"))

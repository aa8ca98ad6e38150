"""The streams of a device, and the pinned memory by way of which arrays go there and back.

All blocks of a process share them: CuPy keeps the memory of each stream that there ever was for that stream
alone (cupy#8068). What follows holds whatever stream the caller has, and where each thread has a null stream
of its own:

- What the pieces of a block share, lists and sums, is made, read and freed on the main stream.
- Pieces take turns on two others. These wait for what the main stream was given before them, and the main
  stream for all of theirs.
- Memory that is freed may be overwritten by what its stream does next, so whoever lets others read an array
  keeps it until the main stream waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cupy
import cupyx
import numpy as np
from numpy.typing import NDArray

__all__ = ["Streams", "free_pinned", "streams"]

_STAGED_BYTES = 1 << 24
"""Size of each of the two buffers of pinned memory."""


class Streams:
    """Streams and pinned buffers of the current device.

    Attributes
    ----------
    main : cupy.cuda.Stream
        Of what the pieces of a block share.
    """

    def __init__(self) -> None:
        self.main = cupy.cuda.Stream(non_blocking=True)
        self._turns = [cupy.cuda.Stream(non_blocking=True) for _ in range(2)]
        self._buffers = [cupyx.empty_pinned(_STAGED_BYTES, np.uint8) for _ in range(2)]
        self._free: list[Any] = [None, None]  # the event from which on a buffer is free
        self._staging = threading.Lock()

    def take_turns(self, n: int, work: Callable[[int], None]) -> None:
        """Call ``work(number)`` for 0 to n - 1, on the two streams in turn."""
        ready = self.main.record()
        for turn in self._turns:
            turn.wait_event(ready)
        try:
            for number in range(n):
                with self._turns[number % 2]:
                    work(number)
        finally:  # also after an error: who reads what is freed now?
            for turn in self._turns:
                self.main.wait_event(turn.record())

    def upload(self, values: NDArray[Any]) -> Any:
        """Copy an array of at least one dimension to the device, in the order of the current stream.

        By way of pinned memory, as the driver would have to find some for each copy; `values` may be changed
        at once, and need not be contiguous.
        """
        array = cupy.empty(values.shape, values.dtype)
        with self._staging:
            for number, part in enumerate(_parts(values)):
                staged = self._staged(number % 2, values[part])
                np.copyto(staged, values[part])
                array[part].set(staged)
                self._free[number % 2] = cupy.cuda.get_current_stream().record()
        return array

    def download(self, array: Any) -> NDArray[Any]:
        """Copy an array of at least one dimension to the host, and wait for it."""
        values = np.empty(array.shape, array.dtype)
        waiting = None
        with self._staging:
            for number, part in enumerate(_parts(values)):
                staged = self._staged(number % 2, values[part])
                array[part].get(out=staged, blocking=False)
                self._free[number % 2] = cupy.cuda.get_current_stream().record()
                if waiting:
                    self._finish(*waiting)
                waiting = number % 2, staged, values[part]
            if waiting:
                self._finish(*waiting)
        return values

    def _staged(self, which: int, values: NDArray[Any]) -> NDArray[Any]:
        """Give a part of a buffer, when it is free, as an array like `values`."""
        if self._free[which] is not None:
            self._free[which].synchronize()
        staged: NDArray[Any] = self._buffers[which][: values.nbytes].view(values.dtype).reshape(values.shape)
        return staged

    def _finish(self, which: int, staged: NDArray[Any], values: NDArray[Any]) -> None:
        self._free[which].synchronize()
        np.copyto(values, staged)


def _parts(values: NDArray[Any]) -> list[slice]:
    """Cut an array along its first axis into parts that fit into a buffer."""
    n = len(values)
    step = max(1, _STAGED_BYTES * n // max(1, values.nbytes))
    return [slice(first, min(first + step, n)) for first in range(0, n, step)]


@lru_cache
def _of(device: int) -> Streams:
    return Streams()


_making = threading.Lock()


def streams() -> Streams:
    """Give the streams of the current device, the same to all threads."""
    with _making:
        return _of(cupy.cuda.Device().id)


def free_pinned() -> None:
    """Give pinned memory back that no array has: CuPy keeps it for arrays of exactly that size."""
    cupy.get_default_pinned_memory_pool().free_all_blocks()

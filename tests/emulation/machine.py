"""Streams, events and memory of a GPU that is played on the host: what is given to it is done later.

Work waits in the queue of its stream until the host waits for something, or chance lets it run: at each turn
the first in any queue may be next, if it does not wait for an event. So what streams owe each other, and is
not said by an event, comes in another order here than the program meant. Nothing comes with the null stream
for free, as on a GPU where each thread has its own or where streams do not block.

Memory that no array has any more is filled with garbage, in the order of the stream that it was taken on: as
CuPy's pool may give it away there.
"""

from __future__ import annotations

import random
import threading
import weakref
from collections import deque

import numpy as np

GARBAGE = 0xA5
GUARD = 64
"""Bytes around each array that nobody may write to."""


class Event:
    """Done when the stream has come to where it was recorded; before that, it is as one that was."""

    def __init__(self, *, block=False, disable_timing=False):
        self.done = True

    def record(self, stream=None):
        stream = stream or machine.current()
        self.done = False
        machine.enqueue(lambda: setattr(self, "done", True), stream)

    def synchronize(self):
        machine.run(lambda: self.done)


class Stream:
    """A queue of work for one device, that of the thread that makes it."""

    def __init__(self, null=False, non_blocking=False):
        self.device = machine.device()
        self.queue = deque()
        machine.streams.append(self)

    def __enter__(self):
        machine.stack().append(self)
        return self

    def __exit__(self, *error):
        machine.stack().pop()

    def record(self, event=None):
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        machine.enqueue(event, self)

    def synchronize(self):
        machine.run(lambda: not self.queue)


class Device:
    """One of the devices, by its number; that of this thread by default."""

    compute_capability = "90"

    def __init__(self, number=None):
        self.id = machine.device() if number is None else number

    def __enter__(self):
        self.before = machine.device()
        machine.local.device = self.id
        return self

    def __exit__(self, *error):
        machine.local.device = self.before


class Machine:
    """All devices together: their streams, and a lock, as kernels have what is static for themselves."""

    def __init__(self):
        self.lock = threading.RLock()
        self.restart(0)

    def restart(self, seed):
        """Begin anew, with an order of its own for each seed."""
        self.local = threading.local()
        self.streams = []
        self.null = {}
        self.reseed(seed)

    def reseed(self, seed):
        self.chance = random.Random(seed)

    def device(self):
        return getattr(self.local, "device", 0)

    def stack(self):
        if not hasattr(self.local, "stack"):
            self.local.stack = []
        return self.local.stack

    def current(self):
        """The stream of this thread; the null stream of its device if it has chosen none."""
        if self.stack():
            return self.stack()[-1]
        with self.lock:
            if self.device() not in self.null:
                self.null[self.device()] = Stream(null=True)
            return self.null[self.device()]

    def enqueue(self, work, stream=None):
        """Have `work` done later: a function, or an event that is waited for."""
        with self.lock:
            stream = stream or self.current()
            assert stream.device == self.device(), "a stream of another device"
            stream.queue.append(work)
            while self.chance.random() < 0.3 and self.step():
                pass

    def step(self):
        """Do what is first in one of the queues; false if there is nothing that could be done."""
        ready = [
            stream
            for stream in self.streams
            if stream.queue and not (isinstance(stream.queue[0], Event) and not stream.queue[0].done)
        ]
        if not ready:
            return False
        work = self.chance.choice(ready).queue.popleft()
        if not isinstance(work, Event):
            work()
        return True

    def run(self, ended):
        """Work until `ended`, as the host waits for it."""
        with self.lock:
            while not ended():
                assert self.step(), "streams wait for each other for ever"

    def finish(self):
        """Wait for all streams."""
        self.run(lambda: not any(stream.queue for stream in self.streams))

    def wait(self):
        """Wait for the stream of this thread."""
        self.current().synchronize()


machine = Machine()


class Memory:
    """Bytes full of garbage, with guards around them, where CUDA would put them: at a multiple of 256."""

    def __init__(self, n_bytes):
        self.device, self.n_bytes = machine.device(), n_bytes
        self.buffer = np.full(n_bytes + 256 + 2 * GUARD, GARBAGE, np.uint8)
        self.start = GUARD + -(self.buffer.ctypes.data + GUARD) % 256
        weakref.finalize(self, free, self.buffer, machine.current()).atexit = False

    def array(self, shape, dtype, offset=0, strides=None):
        """An array of NumPy's there, which does not keep the memory from being freed."""
        return np.ndarray(shape, dtype, self.buffer, self.start + offset, strides)

    def guards(self):
        return self.buffer[: self.start], self.buffer[self.start + self.n_bytes :]


def free(buffer, stream):
    with machine.lock:
        if stream in machine.streams:
            stream.queue.append(lambda: buffer.fill(GARBAGE))


class PinnedPool:
    """Pinned memory as CuPy keeps it: what was freed is taken again for the same number of bytes only."""

    def __init__(self):
        self.used, self.kept = {}, {}

    def malloc(self, n_bytes):
        if self.kept.get(n_bytes):
            self.kept[n_bytes] -= 1
        self.used[n_bytes] = self.used.get(n_bytes, 0) + 1

    def free(self, n_bytes):
        self.used[n_bytes] -= 1
        self.kept[n_bytes] = self.kept.get(n_bytes, 0) + 1

    def free_all_blocks(self):
        self.kept.clear()

    def total(self):
        return sum(size * n for held in (self.used, self.kept) for size, n in held.items())


class PinnedArray(np.ndarray):
    """An array in pinned memory: copies to a GPU and back read and write it when their stream comes there."""


def empty_pinned(pool, shape, dtype=float):
    array = np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, GARBAGE, np.uint8)
    pool.malloc(array.nbytes)
    weakref.finalize(array, pool.free, array.nbytes).atexit = False
    return array.view(dtype).reshape(shape).view(PinnedArray)

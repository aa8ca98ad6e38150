"""Ctrl-C and SIGTERM: the first stops a job in order, another Ctrl-C ends it at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dkmeans.errors import DkmeansError

__all__ = ["exit_code", "stoppable"]

_AGAIN_SECONDS = 0.5
"""Within so long a second SIGINT is the same: some programs pass on what their child has got as well."""


def exit_code(stopped: KeyboardInterrupt) -> int:
    """The exit code of a job that was stopped, as shells count: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + (signal.Signals[stopped.args[0]] if stopped.args else signal.SIGINT)


def _plain(text: str) -> bytes:
    return f"{text}\n".encode()


@contextmanager
def stoppable(say: Callable[[str], bytes] | None = _plain) -> Iterator[None]:
    """Raise KeyboardInterrupt, with the name of the signal, on the first SIGINT or SIGTERM; end on the next.

    A thread waits for SIGINT, and all others, with those and the processes that are started meanwhile, never
    see it. So workers, to which a terminal sends it as well, stay until their cluster is closed; and it is
    heard though the main thread is in a library that looks at no signals, as with a store that is silent.
    What goes wrong after it is no bug: the signal comes between any two instructions, of an import too.
    `say` makes the line that is said then, if any.
    """
    if threading.current_thread() is not threading.main_thread() or _is_ignored():
        yield
        return
    job = _Job(say)
    old = {signal.SIGTERM: signal.signal(signal.SIGTERM, job.stop)}
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    job.listener.start()
    old[signal.SIGINT] = signal.signal(signal.SIGINT, job.pass_on)
    try:
        yield
    except DkmeansError:
        raise
    except Exception as error:  # such as of a module that the signal has left half imported
        if job.raised:
            raise KeyboardInterrupt(signal.Signals(job.number or signal.SIGTERM).name) from error
        raise
    finally:
        job.over = True
        job.pass_on()
        job.listener.join()
        for number, handler in old.items():  # who asks to stop a second time means it
            signal.signal(number, signal.SIG_DFL if job.number else handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _is_ignored() -> bool:
    """Whether Ctrl-C is for others, as in the background of a script."""
    return sys.platform == "win32" or signal.getsignal(signal.SIGINT) is signal.SIG_IGN


class _Job:
    """The signals that have come for the main thread so far."""

    def __init__(self, say: Callable[[str], bytes] | None) -> None:
        self.say = say
        self.main = threading.get_ident()
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.number: int | None = None
        self.raised = self.over = False

    def pass_on(self, number: int = signal.SIGINT, frame: FrameType | None = None) -> None:
        """Give SIGINT to `listen`, also one that has come to a thread from before."""
        signal.pthread_kill(self.listener.ident or 0, signal.SIGINT)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal in the main thread: SIGTERM, which is also how `listen` wakes it."""
        if not self.raised:
            self.raised = True
            self.number = self.number or number
            raise KeyboardInterrupt(signal.Signals(self.number).name)

    def listen(self) -> None:
        """Wait for SIGINT until the job is over."""
        heard = 0.0
        while signal.sigwait({signal.SIGINT}) and not self.over:
            if not self.number:
                self.number, heard = signal.SIGINT, time.monotonic()
                if self.say is not None:
                    end = b"\n" if sys.stderr.isatty() else b""  # of the line that holds a bar, and a ^C
                    os.write(2, end + self.say("stopping; press Ctrl-C again to stop at once"))
                signal.pthread_kill(self.main, signal.SIGTERM)
            elif time.monotonic() - heard > _AGAIN_SECONDS:
                os._exit(128 + signal.SIGINT)

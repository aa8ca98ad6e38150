"""Surroundings of a user that lack something, mended or told: streams, encodings, folders, configuration."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from dkmeans.errors import StorageError, UsageError

__all__ = ["check", "check_dask", "prepare", "printed"]

_BROKEN_PIPE = 128 + 13
"""As shells count a program that SIGPIPE has ended."""


def prepare() -> None:
    """Make this process, and those that it starts, independent of what its surroundings happen to be.

    A stream that is closed becomes the null device: else the next file, or connection, would get its number
    and what is printed. Stderr may be full. Text that the encoding of stdout lacks is escaped. Processes that
    are started do not look for modules in the current folder, where the user may have a ``random.py``. Where
    names of files are not UTF-8 to Python, as in the locale C of old, it begins anew with them in UTF-8.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stderr = _Forgiving(sys.stderr)
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


class _Forgiving:
    """A stream that takes what it can: no job ends because nobody can be told how far it is."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def check() -> None:
    """See that there is a current folder, which Numba asks for.

    Raises
    ------
    UsageError
        If not.
    """
    try:
        Path.cwd()
    except OSError as error:
        raise UsageError(
            f"the current folder cannot be found: {error.strerror}; expected one that exists. It may be "
            "removed or made again: cd to a folder, then run again."
        ) from error


def check_dask() -> None:
    """See that Dask can read its configuration, where something that may have wanted it has failed.

    Raises
    ------
    UsageError
        If not.
    """
    try:
        import dask.config  # noqa: F401
    except Exception as error:  # of YAML, or of the file system
        what = " ".join(str(error).split())
        raise UsageError(
            f"Dask's configuration cannot be read: {what}. Fix that file, or set DASK_CONFIG to another "
            "folder."
        ) from error


def printed(write: Callable[[], Any], done: str = "") -> None:
    """Write to stdout, all of it.

    Parameters
    ----------
    write : callable
        Prints.
    done : str
        What is done although it cannot be told, for the message.

    Raises
    ------
    StorageError
        If stdout cannot take it, such as a file on a disk that is full.
    SystemExit
        If its reader has gone, as with ``| head``.
    """
    try:
        write()
        sys.stdout.flush()
    except BrokenPipeError:
        _discard()
        raise SystemExit(_BROKEN_PIPE) from None
    except OSError as error:
        _discard()
        what = "no space left on its device" if error.errno == errno.ENOSPC else f"{error.strerror or error}"
        raise StorageError(f"stdout: {what}; expected a place for the report.{done}") from error


def _discard() -> None:
    """Let go of what stdout could not take: Python would try once more as it ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)

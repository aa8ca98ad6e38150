"""How the kernels of the CPU are compiled: without the GIL, without checks, once a machine."""

from __future__ import annotations

import functools
import multiprocessing
import os
import stat
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
import numba.extending

from dkmeans.errors import UsageError

__all__ = ["fused", "inlined", "intrinsic", "jit", "without_refcounts"]

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise UsageError(
        "found NUMBA_DISABLE_JIT in the environment, or in Numba's configuration; expected it unset, as the "
        "kernels are written in machine instructions. Unset it."
    )


def _compiled(**options: Any) -> Callable[[_F], _F]:
    compiler: Any = numba.njit  # its own types leave out the option _nrt
    if options.get("cache") and not _has_cache():
        del options["cache"]
    decorator: Callable[[_F], _F] = compiler(**_OPTIONS, **options)
    return decorator


@functools.cache
def _has_cache() -> bool:
    """Whether machine code can be kept: by Numba where it likes, else in a folder for temporary files.

    Numba refuses to compile at all a function whose code it is to keep and cannot: neither beside the module
    nor in the user's own folder, as in a container that runs as another user (numba#4908, numba#5566).
    """
    try:
        numba.njit(cache=True)(_nothing)
    except RuntimeError:
        folder = _private_folder()
        if folder is None:
            if multiprocessing.parent_process() is None:  # said once, not by each worker
                warnings.warn(
                    "the compiled kernels cannot be kept, as no folder can be written: each process compiles "
                    "them, for a minute or two. Set NUMBA_CACHE_DIR to a folder that can be written.",
                    RuntimeWarning,
                    stacklevel=2,
                )
            return False
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return True


def _nothing() -> None:
    """A function to try the cache with."""


def _private_folder() -> Path | None:
    """A folder for machine code among temporary files, if there is one that this user alone can write."""
    try:
        folder = Path(tempfile.gettempdir(), f"dkmeans-numba-{os.geteuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # Somebody else may have made it, or a link: code that others can change is never loaded.
        ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
        with tempfile.TemporaryFile(dir=folder):
            return folder if ours else None
    except (OSError, AttributeError):  # no temporary files, no users
        return None


def jit(function: _F) -> _F:
    """Compile, and keep the machine code on disk.

    Numba makes it again when this function's file has changed, not for the files of what is inlined into it:
    after a change in `vector` or `totals`, touch `nearest`.
    """
    return _compiled(cache=True)(function)


def without_refcounts(function: _F) -> _F:
    """The same, without counting references to arrays, which it can therefore not make.

    Counted, each array that is handed to another function costs two atomic additions, half the time of a
    step.
    """
    return _compiled(cache=True, _nrt=False)(function)


def fused(function: _F) -> _F:
    """As `jit`; a product and a sum may become one instruction, so that results are rounded in any way."""
    return _compiled(cache=True, fastmath={"contract"})(function)


def inlined(function: _F) -> _F:
    """Become a part of each function that calls it."""
    return _compiled(inline="always", _nrt=False)(function)


def intrinsic(function: Callable[..., Any]) -> Any:
    """A function that writes its own LLVM instructions."""
    return numba.extending.intrinsic(function)

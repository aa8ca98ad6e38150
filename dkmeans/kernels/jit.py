"""Compilers of the kernels of the CPU: without the GIL, without checks, once a machine."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding as llvm
import numba
import numba.extending

from dkmeans.errors import UsageError
from dkmeans.kernels.machine_code import MachineCode

__all__ = ["cpu_features", "fused", "inlined", "intrinsic", "jit", "without_refcounts"]

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
    raise UsageError(
        "found NUMBA_DISABLE_JIT in the environment, or in Numba's configuration; expected it unset, as the "
        "kernels are written in machine instructions. Unset it."
    )


def cpu_features() -> frozenset[str]:
    """Name what the processor has that machine code is made for: this one, if Numba is told of no other."""
    told = numba.config.CPU_FEATURES  # type: ignore[attr-defined]
    if told is None and numba.config.CPU_NAME is not None:  # type: ignore[attr-defined]
        return frozenset()
    features = llvm.get_host_cpu_features().flatten() if told is None else told
    return frozenset(each[1:] for each in features.split(",") if each.startswith("+"))


def _compiled(**options: Any) -> Callable[[_F], _F]:
    folder = _cache_folder() if options.get("cache") else None
    if folder is None:
        options["cache"] = False
    compiler: Any = numba.njit  # its own types leave out the option _nrt

    def compiled(function: _F) -> _F:
        with _caching_in(folder):
            found = compiler(**_OPTIONS, **options)(function)
            if folder is not None:
                found._cache = MachineCode(found.py_func)
                # Before the first call Numba loads all packages that teach it types: we pass arrays alone.
                found._compilation_chain_init_hook = _nothing
        kernel: _F = found
        return kernel

    return compiled


@contextmanager
def _caching_in(folder: Path | None) -> Iterator[None]:
    """Have Numba look for machine code in `folder`: only for a moment, as other code may use Numba, too."""
    before = numba.config.CACHE_DIR  # type: ignore[attr-defined]
    if folder is not None:
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        numba.config.CACHE_DIR = before  # type: ignore[attr-defined]


@functools.cache
def _cache_folder() -> Path | None:
    """Find a folder for the machine code of just these sources, below the one that Numba likes.

    Numba looks at the file of a function, not at the files of what is inlined into it, so a folder that all
    versions share would give old code after a change in `vector` or `totals`. Folders of other versions stay.

    Numba refuses to compile at all a function whose code it is to keep and cannot: neither beside the module
    nor in the user's own folder, as in a container that runs as another user (numba#4908, numba#5566). Then
    it is a folder for temporary files, or None.
    """
    try:
        tried: Any = numba.njit(cache=True)(_nothing)
    except RuntimeError:
        import multiprocessing  # here, as it takes a while to load

        folder = _private_folder()
        if folder is None and multiprocessing.parent_process() is None:  # said once, not by each worker
            warnings.warn(
                "the compiled kernels cannot be kept, as no folder can be written: each process compiles "
                "them, for a minute or two. Set NUMBA_CACHE_DIR to a folder that can be written.",
                RuntimeWarning,
                stacklevel=2,
            )
    else:
        folder = Path(numba.config.CACHE_DIR or tried.stats.cache_path)  # type: ignore[attr-defined]
    return folder and folder / f"dkmeans-{_digest(Path(__file__).parent)}"


def _digest(sources: Path) -> str:
    """Hash the names and texts of the modules in a folder."""
    texts = [(path.name, path.read_bytes()) for path in sorted(sources.glob("*.py"))]
    return hashlib.sha256(repr(texts).encode()).hexdigest()[:16]


def _nothing() -> None:
    """Do nothing: a function to try the cache with."""


def _private_folder() -> Path | None:
    """Make a folder for machine code among temporary files, if this user alone can write it."""
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
    """Compile, and keep the machine code on disk."""
    return _compiled(cache=True)(function)


def without_refcounts(function: _F) -> _F:
    """Compile as `jit`, without counting references to arrays, which it can therefore not make.

    Counted, each array that is handed to another function costs two atomic additions, half the time of a
    step.
    """
    return _compiled(cache=True, _nrt=False)(function)


def fused(function: _F) -> _F:
    """Compile as `jit`; a product and a sum may become one instruction: results are rounded in any way."""
    return _compiled(cache=True, fastmath={"contract"})(function)


def inlined(function: _F) -> _F:
    """Make the function a part of each one that calls it."""
    return _compiled(inline="always", _nrt=False)(function)


def intrinsic(function: Callable[..., Any]) -> Any:
    """Make a function that writes its own LLVM instructions."""
    return numba.extending.intrinsic(function)

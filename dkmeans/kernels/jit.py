"""How the kernels of the CPU are compiled: without the GIL, without checks, once a machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numba.extending

__all__ = ["bare", "fused", "inlined", "intrinsic", "jit"]

_F = TypeVar("_F", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


def _compiled(**options: Any) -> Callable[[_F], _F]:
    compiler: Any = numba.njit  # its own types leave out the option _nrt
    decorator: Callable[[_F], _F] = compiler(**_OPTIONS, **options)
    return decorator


def jit(function: _F) -> _F:
    """Compile, and keep the machine code on disk.

    Numba makes it again when this function's file has changed, not for the files of what is inlined into it:
    after a change in `vector` or `totals`, touch `nearest`.
    """
    return _compiled(cache=True)(function)


def bare(function: _F) -> _F:
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

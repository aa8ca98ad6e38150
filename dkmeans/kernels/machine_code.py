"""Machine code of kernels on disk, one file for each function and the types that it is called with."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

from numba.core import caching
from numba.core.runtime.nrt import rtsys

__all__ = ["MachineCode"]

_FunctionCache: Any = caching.FunctionCache  # these have no types
_Files: Any = caching.IndexDataCacheFile


class MachineCode(_FunctionCache):  # type: ignore[misc]
    """Machine code on disk, which loads without all that only compiling needs.

    Numba itself first registers every function that it can compile, SciPy's and those of other packages among
    them: half a second, which a kernel that is compiled already has no use for. Of all that machine code
    refers to only the counting of references is not there from the beginning.
    """

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file: Any = _NamedFiles(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load the machine code for a signature, if it is there."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _NamedFiles(_Files):  # type: ignore[misc]
    """A file for each signature, named after it, with a checksum.

    Numba numbers them, and keeps the numbers in a file that it reads and writes without a lock: two processes
    that compile a function for two signatures at the same time may take the same number, and from then on the
    machine code of one signature is run for the other (numba#4807). A file that a power cut has left damaged
    would end each process that reads it; here it counts as missing.
    """

    def save(self, key: Any, data: Any) -> None:
        """Write the machine code of `key`: the signature, the processor and the bytecode."""
        content = self._dump((key, data))
        with self._open_for_write(str(self._path(key))) as file:
            file.write(hashlib.sha256(content).digest() + content)

    def load(self, key: Any) -> Any:
        """Read the machine code of `key`; None if there is none."""
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        kept, data = pickle.loads(content[32:])
        return data if kept == key else None

    def _path(self, key: Any) -> Path:
        named = hashlib.sha256(repr((self._version, self._source_stamp, key)).encode()).hexdigest()[:16]
        return Path(self._index_path).with_suffix(f".{named}.nbc")

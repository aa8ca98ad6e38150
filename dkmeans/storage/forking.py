"""After fork(): the child has the objects of its parent's libraries, and none of their threads.

What waits for such a thread waits for ever. The pools of Dask are forgotten in the child, and made anew when
they are needed. The runtime of obstore cannot be (obstore#214): there files are read without it
(`local_files`), and other storage is refused at once.
"""

from __future__ import annotations

import os
import sys
import threading

from dkmeans.errors import StorageError

__all__ = ["check", "forked"]

_users: set[int] = set()
"""The processes that have used obstore: this one, or one that it was forked from."""


def forked() -> bool:
    """Whether this process was forked from one that had used obstore."""
    return bool(_users) and os.getpid() not in _users


def check(url: str) -> None:
    """Note that this process uses obstore now, for the storage at `url`, unless its threads are gone.

    Raises
    ------
    StorageError
        If they are.
    """
    if forked():
        raise StorageError(
            f"{url}: found a process made by fork() from one that had used storage; expected a new one, as "
            "the threads of obstore are gone. Start it by 'spawn' or 'forkserver', as with "
            "multiprocessing.get_context('spawn') or DataLoader(multiprocessing_context='spawn')."
        )
    _users.add(os.getpid())


def _forget_pools() -> None:
    threaded = sys.modules.get("dask.threaded")
    if threaded is not None:
        threaded.pools_lock = threading.Lock()  # type: ignore[attr-defined]
        threaded.pools.clear()
        threaded.default_pool = None  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)

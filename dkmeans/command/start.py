"""Where the process of the command begins: what has to come before its modules are loaded."""

from __future__ import annotations

import gc

__all__ = ["main"]

_YOUNG = 50_000
"""Objects after which Python looks for garbage; by itself after 700, from Python 3.13 on after 2,000."""


def main() -> None:
    """Run the command with the arguments of the process.

    Loading a thousand modules makes hundreds of thousands of objects that stay. To look through all of them
    again and again took an eighth of the time of a small image.
    """
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])
    from dkmeans.command.main import main as run  # here, as loading it is most of the work

    try:
        run()
    finally:
        gc.freeze()  # as it ends, Python would look through all of them once more

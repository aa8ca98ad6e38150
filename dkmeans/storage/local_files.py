"""Files of a local folder: listed so that no odd entry ends it all, and read without obstore.

Obstore ends a whole listing at the first entry that it cannot take, such as a link to a folder above; and in
a forked child its threads are gone, so that it reads nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["read", "remove_empty_folders", "walk"]

_STAGED = re.compile(r"#\d+$")
"""Names of files that obstore is writing, and will rename."""


def walk(
    root: Path, key: str, left_out: list[str], above: tuple[str, ...] = ()
) -> Iterator[tuple[str, int, str]]:
    """Key, size and time of each file below the folder `key` of `root`; none if there is no such folder.

    Parameters
    ----------
    root : Path
    key : str
        Relative to `root`; empty for all of it.
    left_out : list of str
        Gets the key of each entry that cannot be an object, and why.
    above : tuple of str
        The real paths of the folders on the way.

    Raises
    ------
    OSError
        If the first folder cannot be read.
    """
    folder = root / key
    here = os.path.realpath(folder)
    if here in above:
        left_out.append(f"{key} (a link to a folder that it lies in)")
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return  # gone meanwhile, or none
    except OSError as error:  # such as no right to read it, or too long a path
        if not above:
            raise
        reason = "a folder without the right to read it" if isinstance(error, PermissionError) else None
        left_out.append(f"{key} ({reason or error.strerror})")
        return
    for entry in found:
        below = f"{key}/{entry.name}" if key else entry.name
        if _is_odd(entry.name):
            left_out.append(f"{below!r} (its name is not UTF-8, or holds a control character)")
            continue
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError as error:  # such as links that lead to each other
            left_out.append(f"{below} ({error.strerror})")
            continue
        if is_folder:
            yield from walk(root, below, left_out, (*above, here))
        elif not is_file:
            left_out.append(f"{below} (a link to nothing)" if entry.is_symlink() else f"{below} (no file)")
        elif _STAGED.search(entry.name):
            left_out.append(f"{below} (the name of a file that is being written; expected no # and number)")
        else:
            with suppress(FileNotFoundError):  # gone meanwhile
                about = entry.stat()
                yield below, about.st_size, str(about.st_mtime_ns)


def _is_odd(name: str) -> bool:
    return not name.isprintable() and any(
        character < " " or character == "\x7f" or "\ud800" <= character <= "\udfff" for character in name
    )


def read(path: Path, start: int = 0, length: int = -1) -> bytes:
    """At most `length` bytes of a file from byte `start`; -1 for all that follow."""
    with path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def remove_empty_folders(root: Path) -> None:
    """Remove the folders below `root` that hold nothing."""
    for folder in sorted(root.rglob("*"), reverse=True):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

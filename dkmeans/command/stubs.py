"""The public names for type checkers, which do not see that they load when they are first used.

``python -m dkmeans.command.stubs`` writes them to ``dkmeans/__init__.pyi``; a test compares that file.
"""

from __future__ import annotations

from pathlib import Path

import dkmeans
from dkmeans.command.registry import public_places

__all__ = ["make_stub"]


def make_stub() -> str:
    """The text of the stub: each public name, from the module where it lies."""
    places = public_places()
    rows = sorted((module, name) for name, module in places.items())
    imports = "\n".join(f"from {module} import {name} as {name}" for module, name in rows)
    names = "\n".join(f'    "{name}",' for name in sorted(places))
    return f"# Written by make stubs.\n{imports}\n\n__version__: str\n\n__all__ = [\n{names}\n]\n"


if __name__ == "__main__":
    Path(dkmeans.__file__).with_suffix(".pyi").write_text(make_stub(), encoding="utf-8")

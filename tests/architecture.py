"""Draws the page about the house from the code: floors, rooms, and who imports whom."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from test_imports import LAYERS, MODULES, imports_of, inner, name_of

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"
INTRO = """# The house

Written by `make architecture` from the code and from the test that holds it (tests/test_imports.py): a module
imports from its own floor or from below, never in a circle, and stages meet in storage alone.

Where does it talk to the store, to the cluster, to the user, what lies on disk? Each question has a folder.
"""


def docstring(path: Path) -> str:
    """The first sentence of a module."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def rooms() -> dict[str, list[Path]]:
    """Modules by their room: a folder of dkmeans, or a file that lies beside these."""
    found: dict[str, list[Path]] = {}
    for path in MODULES:
        if name := name_of(path):
            found.setdefault(name.split(".")[0], []).append(path)
    return found


def draw() -> str:
    """The page as Markdown."""
    every = rooms()
    lines = [INTRO, "| floor | room | what it is | imports |", "|---|---|---|---|"]
    for floor, layer in zip(range(len(LAYERS), 0, -1), LAYERS, strict=True):
        for room in layer:
            below = {name.split(".")[0] for path in every[room] for name in inner(imports_of(path)) if name}
            names = ", ".join(sorted(below - {room})) or "nothing"
            lines.append(f"| {floor} | [{room}](#{room}) | {docstring(first(every[room]))} | {names} |")
    for layer in LAYERS:
        for room in layer:
            lines += ["", f"## {room}", "", docstring(first(every[room])), ""]
            lines += [
                f"- `{name_of(path).removeprefix(f'{room}.')}`: {docstring(path)}"
                for path in every[room]
                if path.stem != "__init__" and "." in name_of(path)
            ]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def first(paths: list[Path]) -> Path:
    """The file that speaks for a room."""
    return min(paths, key=lambda path: len(name_of(path)))


if __name__ == "__main__":
    sys.stdout.write(draw()) if "--print" in sys.argv else PAGE.write_text(draw(), encoding="utf-8")

"""What pages take from the code and from files outside docs/, so that none of it can be out of date.

A line ``{{ commands }}``, ``{{ keys }}``, ``{{ options }}`` or ``{{ errors }}`` stands for tables made of the
command, the models of the options and the errors; ``{{ file PATH }}`` for a file of the project; and, in a
list of contents, ``{{ pages PATTERN }}`` for the pages that there are. Links to files outside docs/ lead to
their page of the site where there is one, else to a copy of the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from command_tables import commands
from model_tables import errors, keys, options
from sphinx.application import Sphinx

__all__ = ["relink", "setup"]

_ROOT = Path(__file__).parents[2]
_PAGES = {
    "README.md": "docs/index.md",
    "CHANGELOG.md": "docs/changes.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "deploy": "docs/deploy.md",
    "deploy/README.md": "docs/deploy.md",
}
"""Files and folders that are a page of the site."""
_MADE = {"commands": commands, "keys": keys, "options": options, "errors": errors}
_MARK = re.compile(r"^\{\{ (\w+)(?: (\S+))? \}\}$", re.MULTILINE)
_LINK = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def relink(text: str, folder: Path, target: Path) -> str:
    """Change the relative links of a text that lies in `folder` into those of a page in `target`."""

    def change(match: re.Match[str]) -> str:
        words, place, anchor = match[1], match[2], match[3] or ""
        path = Path(os.path.normpath(folder / place))
        if not path.exists():
            return match[0]  # as it is, for Sphinx to complain of
        inside = path.relative_to(_ROOT).as_posix()
        if inside in _PAGES:
            path, anchor = _ROOT / _PAGES[inside], ""
        elif path.is_dir():
            return words.removeprefix("[").removesuffix("]")
        return f"{words}({Path(os.path.relpath(path, target)).as_posix()}{anchor})"

    return _LINK.sub(change, text)


def _fill(app: Sphinx, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname))
    if page.suffix != ".md":
        return

    def fill(match: re.Match[str]) -> str:
        name, argument = match.groups()
        if name == "file":
            app.env.note_dependency(str(_ROOT / argument))
            text = (_ROOT / argument).read_text(encoding="utf-8")
            return relink(text, (_ROOT / argument).parent, page.parent)
        app.env.note_reread()  # as code and pages may have changed
        if name == "pages":
            found = sorted(page.parent.glob(f"{argument}.md"))
            return "\n".join(Path(os.path.relpath(each, page.parent)).as_posix() for each in found)
        return _MADE[name]()

    source[0] = _MARK.sub(fill, relink(source[0], page.parent, page.parent))


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill each page when it is read."""
    app.connect("source-read", _fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

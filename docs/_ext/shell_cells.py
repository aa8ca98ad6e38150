"""Cells of shell commands: ``%%bash -e`` runs them; the page shows what a reader types, and what stdout got.

Progress, on stderr, is left out: it is another one in each build.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx

__all__ = ["setup"]

_MAGIC = "%%bash -e\n"


def _show_commands(app: Sphinx, doctree: nodes.document) -> None:
    for cell in doctree.findall(nodes.container):
        blocks = list(cell.findall(nodes.literal_block))
        if cell.get("nb_element") == "cell_code" and blocks and blocks[0].astext().startswith(_MAGIC):
            _show(blocks[0], blocks[0].astext().removeprefix(_MAGIC))
            for block in blocks[1:]:
                if "stderr" in block["classes"]:
                    block.parent.remove(block)


def _show(block: nodes.literal_block, commands: str) -> None:
    block.rawsource, block["language"] = commands, "bash"
    block.children = [nodes.Text(commands)]


def setup(app: Sphinx) -> dict[str, bool]:
    """Change the cells of each page once it is read."""
    app.connect("doctree-read", _show_commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

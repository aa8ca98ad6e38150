"""How Sphinx builds the site: `make docs`, without a network, with every warning an error."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from nbclient import NotebookClient
from sphinx.application import Sphinx

import dkmeans

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))
# Cells run commands: those that were installed with this Python, and this checkout of dkmeans.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])

project = "dkmeans"
author = "the authors of dkmeans"
project_copyright = "the authors of dkmeans, Apache-2.0"
version = release = dkmeans.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_nb",
    "sphinx_design",
    "filled",
    "mathml",
    "shell_cells",
]
exclude_patterns = ["_build", "_ext", "schemas"]
nitpicky = True
smartquotes = False  # they would make one dash of two, as in --k

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
html_math_renderer = "mathml"

# Each page with cells runs from the beginning in an empty folder; a cell that raises ends the build.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 180  # seconds of one cell
nb_merge_streams = True
# Output of commands comes in pieces, which myst-nb would join by ends of lines.
NotebookClient.coalesce_streams = True

autosummary_generate = True
templates_path = ["_templates"]
autodoc_typehints = "none"  # numpydoc's sections name the types
autodoc_member_order = "groupwise"
numpydoc_show_class_members = False  # autodoc lists them in full

html_theme = "pydata_sphinx_theme"
html_title = f"dkmeans {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "logo": {"text": "dkmeans"},
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "start": [], "changes": [], "contributing": []}


def _skip(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the methods that scikit-learn adds to every estimator for its metadata routing."""
    return True if re.fullmatch(r"set_\w+_request", name) else None


def setup(app: Sphinx) -> None:
    """Connect what is of this site alone."""
    app.connect("autodoc-skip-member", _skip)

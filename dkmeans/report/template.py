"""The templates of the pages, the style sheets and scripts within them, and the filters that they may use."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jinja2
from markupsafe import Markup

from dkmeans.events import words

__all__ = ["render"]

_SCRIPTS = ("start", "theme", "compare", "slider", "tables", "zoom", "paper")


def render(name: str, **values: Any) -> str:
    """The template `name` of this folder with these values; what is no markup is escaped.

    Every page has the scripts of ``assets/`` as `script`, which a browser runs, and no other, since the
    policy of the page names their `script_digest`. ``asset(name)`` is a style sheet of that folder.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dkmeans", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in words.__all__}

    def asset(file: str) -> Markup:
        assert environment.loader is not None
        return Markup(environment.loader.get_source(environment, f"assets/{file}")[0])

    script = "(() => {\n" + "\n".join(asset(f"{each}.js") for each in _SCRIPTS) + "\n})();"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    environment.globals |= {"asset": asset}
    values |= {"script": Markup(script), "script_digest": f"sha256-{digest}"}
    return environment.get_template(name).render(**values)

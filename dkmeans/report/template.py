"""The templates of the pages, and the filters that they may use."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import jinja2
from markupsafe import Markup

from dkmeans.events import words

__all__ = ["render"]

_SCRIPT = "page.js"


def render(name: str, **values: Any) -> str:
    """The template `name` of this folder with these values; what is no markup is escaped.

    A template may have the script ``page.js`` as `script`, which a browser runs, and no other, if the policy
    of the page names its `script_digest`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dkmeans", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in words.__all__}
    assert environment.loader is not None
    script = environment.loader.get_source(environment, _SCRIPT)[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    values |= {"script": Markup(script), "script_digest": f"sha256-{digest}"}
    return environment.get_template(name).render(**values)

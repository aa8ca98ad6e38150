"""The templates of the pages, and the filters that they may use."""

from __future__ import annotations

from typing import Any

import jinja2

from dkmeans.events import words

__all__ = ["render"]


def render(name: str, **values: Any) -> str:
    """The template `name` of this folder with these values; what is no markup is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dkmeans", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(words, name) for name in words.__all__}
    return environment.get_template(name).render(**values)

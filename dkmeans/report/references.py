"""Texts that refer to numbers: ``"{/sweep/3/mse:number}"`` is a JSON pointer into the facts, then a format.

``{{`` and ``}}`` are literal braces. The formats are functions of `dkmeans.events.words`, and ``text``, for
strings. What cannot be found or formatted is a `ValueError`: a bug of the one who wrote the text, not of its
reader.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from dkmeans.events import words

__all__ = ["Reference", "check_json", "html", "literal", "parse", "plain", "raw", "resolve", "shown"]

_FORMATS: Mapping[str, tuple[tuple[type, ...], Callable[[Any], str]]] = {
    "number": ((int, float), words.number),
    "integer": ((int,), words.integer),
    "size": ((int,), words.size),
    "share": ((int, float), words.share),
    "psnr": ((int, float, type(None)), words.psnr),
    "seconds": ((int, float), words.seconds),
    "text": ((str,), str),
}
_PIECES = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<pointer>/[^{}]*):(?P<format>[^{}:]*)\}|(?P<stray>[{}])")


def check_json(value: Any, pointer: str = "") -> None:
    """See that `value` is made of JSON values only.

    Raises
    ------
    ValueError
        For a number that is not finite, a key that is no string, or a value of another type; arrays and
        numbers of NumPy are such, but for its float64.
    """
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError(
                f"{pointer or '/'}: the facts have a key that is no string among {list(value)!r}"
            )
        for key, inner in value.items():
            check_json(inner, f"{pointer}/{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            check_json(inner, f"{pointer}/{position}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{pointer}: the facts hold {value}, which JSON does not know; None is a number left out"
            )
    elif value is not None and not isinstance(value, (str, int)):
        raise ValueError(f"{pointer}: the facts hold {value!r} of {type(value)}; expected a JSON value")


@dataclass(frozen=True)
class Reference:
    """A number in the facts and how to write it."""

    pointer: str
    format: str

    @property
    def is_number(self) -> bool:
        """Whether it is written in digits, so that a column of it is set to the right."""
        return self.format != "text"


def literal(text: str) -> str:
    """`text` with its braces doubled, so that nothing in it is taken for a reference."""
    return text.replace("{", "{{").replace("}", "}}")


def parse(text: str) -> list[str | Reference]:
    """The parts of a text, in order.

    Raises
    ------
    ValueError
        For a single brace, or an unknown format.
    """
    parts: list[str | Reference] = []
    end = 0
    for found in _PIECES.finditer(text):
        parts.append(text[end : found.start()])
        end = found.end()
        if found["stray"]:
            raise ValueError(
                f"{text!r}: a single {found[0]!r}; expected a reference such as {{/mse:number}}, or two of it"
            )
        if found["brace"]:
            parts.append(found[0][0])
            continue
        if found["format"] not in _FORMATS:
            raise ValueError(f"{text!r}: unknown format in {found[0]}; expected one of {', '.join(_FORMATS)}")
        parts.append(Reference(found["pointer"], found["format"]))
    return [part for part in (*parts, text[end:]) if part]


def resolve(facts: Any, pointer: str) -> Any:
    """The value that a JSON pointer (RFC 6901) points to.

    Raises
    ------
    ValueError
        If nothing is there.
    """
    value = facts
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]*", key) and int(key) < len(value):
            value = value[int(key)]
        else:
            raise ValueError(f"{pointer}: the facts have nothing there, from {part!r} on")
    return value


def shown(facts: Any, reference: Reference) -> str:
    """The value of a reference as its format writes it.

    Raises
    ------
    ValueError
        If there is none, or one that its format does not know.
    """
    value = resolve(facts, reference.pointer)
    types, write = _FORMATS[reference.format]
    if isinstance(value, bool) or not isinstance(value, types):
        raise ValueError(
            f"{{{reference.pointer}:{reference.format}}}: found {value!r}, which it cannot write"
        )
    return write(value)


def html(facts: Any, text: str) -> Markup:
    """A text as HTML, with each reference as a ``<data>`` that holds its exact value and its pointer."""
    return Markup("").join(
        Markup('<data value="{0}" data-json="{1}" title="{0}">{2}</data>').format(
            _raw(facts, part), part.pointer, shown(facts, part)
        )
        if isinstance(part, Reference)
        else escape(part)
        for part in parse(text)
    )


def plain(facts: Any, text: str) -> str:
    """A text as people read it, without markup."""
    return "".join(shown(facts, part) if isinstance(part, Reference) else part for part in parse(text))


def raw(facts: Any, text: str) -> str:
    """A text with the exact value in place of each reference; null is empty."""
    return "".join(
        part if isinstance(part, str) else "" if resolve(facts, part.pointer) is None else _raw(facts, part)
        for part in parse(text)
    )


def _raw(facts: Any, reference: Reference) -> str:
    value = resolve(facts, reference.pointer)
    return value if isinstance(value, str) else json.dumps(value)

"""Colors as people write them: #rgb, #rrggbb or #rrggbbaa."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

__all__ = ["Colors", "parse_color"]

_COLOR = re.compile(r"#?(?:[0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})", re.IGNORECASE)


def parse_color(text: str) -> str:
    """Give a color as ``#rrggbb``, or as ``#rrggbbaa`` if it is not opaque; the # may be missing.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not _COLOR.fullmatch(text):
        raise ValueError(f"{text!r} is no color; expected one such as #f80, #ff8800 or #ff880080")
    digits = text.removeprefix("#").lower()
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return f"#{digits.removesuffix('ff') if len(digits) == 8 else digits}"


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(parse_color, values)))


Colors = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(_split), AfterValidator(_distinct)]
"""Some colors, each once and as `parse_color` gives it; text has commas between them."""

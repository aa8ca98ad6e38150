"""Numbers for people: in the lines at the end of a stage, and on the pages of reports."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["change", "counted", "integer", "last_part", "number", "psnr", "seconds", "share", "shown", "size"]


def number(value: float) -> str:
    """Three significant digits: ``0.0123``, ``12.3``, ``12,300``, ``1.23 × 10⁷``."""
    value = float(f"{value:.3g}")
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return f"{value:g}"
    power = math.floor(math.log10(abs(value)))
    if not -4 < power < 6:
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{value / 10.0**power:.2f} × 10{raised}"
    return f"{value:,.{max(0, 2 - power)}f}"


def integer(value: int) -> str:
    """All digits, in groups of three: ``1,234``."""
    return f"{value:,d}"


def counted(n: int, unit: str) -> str:
    """A number and what it counts, whose plural is given: ``1 image``, ``1,200 images``, ``1 batch``."""
    if n == 1 and unit.endswith("ches"):
        unit = unit.removesuffix("es")
    elif n == 1 and not unit.endswith("ss"):
        unit = unit.removesuffix("s")
    return f"{n:,d} {unit}"


def size(n_bytes: int) -> str:
    """Bytes in the largest unit that fits, such as ``1.33 MiB``."""
    amount, unit = float(n_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 999.5:
            break
        amount, unit = amount / 1024, larger
    return f"{n_bytes} B" if unit == "B" else f"{number(amount)} {unit}"


def share(value: float) -> str:
    """A share from 0 to 1 in percent."""
    return f"{number(100 * value)} %"


def change(value: float) -> str:
    """A change as a share of what was before, in percent: ``-23 %``, ``+0.4 %``."""
    percent = round(100 * value, 0 if abs(value) >= 0.0995 else 1)
    return f"{percent:+.{0 if abs(percent) >= 10 else 1}f} %" if percent else "0 %"


def psnr(value: float | None) -> str:
    """Decibels, or ``exact`` for an image that lost nothing."""
    return "exact" if value is None else f"{number(value)} dB"


def seconds(value: float) -> str:
    """A duration, such as ``0.12 ms``, ``12.3 s``, ``4 min 10 s`` or ``1 h 5 min``."""
    if 0 < value < 0.001:
        return f"{number(1000 * value)} ms"
    if float(f"{value:.3g}") < 60:
        return f"{number(value)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(value / 60), 60)
    return f"{hours} h {minutes} min"


def last_part(url: str) -> str:
    """The name at the end of a URL or path."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def shown(name: str, value: Any) -> str:
    """A value of a report for people: its name tells the unit.

    Numbers are rounded, as ``--json`` has all digits.
    """
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return size(value) if name.endswith("bytes") else integer(value)
    if isinstance(value, float):
        return (
            seconds(value) if name.endswith("seconds") else psnr(value) if "psnr" in name else number(value)
        )
    if isinstance(value, Mapping):
        if value.keys() == {"finished", "total"}:
            return f"{value['finished']:,d} of {value['total']:,d}"
        return ", ".join(f"{key} {shown(key, each)}" for key, each in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(name, each) for each in value) or "none"
    return str(value)

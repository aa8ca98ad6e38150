"""Numbers for people: in the lines at the end of a stage, and on the pages of reports."""

from __future__ import annotations

import math

__all__ = ["change", "integer", "last_part", "number", "psnr", "seconds", "share", "size"]


def number(value: float) -> str:
    """Three significant digits: ``0.0123``, ``12.3``, ``12,300``, ``1.23 × 10⁷``."""
    value = float(f"{value:.3g}")
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if not -4 < power < 6:
        raised = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return f"{value / 10.0**power:.2f} × 10{raised}"
    return f"{value:,.{max(0, 2 - power)}f}"


def integer(value: int) -> str:
    """All digits, in groups of three: ``1,234``."""
    return f"{value:,d}"


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
    """A duration, such as ``12.3 s``, ``4 min 10 s`` or ``1 h 5 min``."""
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

"""Numbers for people: the filters of the template."""

from __future__ import annotations

import math

__all__ = ["last_part", "number", "share", "size"]


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


def last_part(url: str) -> str:
    """The name at the end of a URL or path."""
    return url.rstrip("/").rsplit("/", 1)[-1]

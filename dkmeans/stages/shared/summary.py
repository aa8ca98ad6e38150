"""What people want to know at the end of a stage that wrote images: a few lines, no table of values."""

from __future__ import annotations

from collections.abc import Sequence

from dkmeans.events import words
from dkmeans.images.decode import SkippedImage
from dkmeans.stages.shared.quantized import QuantizedImage

__all__ = ["gain_lines", "quality_lines", "skipped_lines"]


def gain_lines(images: Sequence[QuantizedImage], source_bytes: int, stored_bytes: int) -> list[str]:
    """Say how many bytes there were and are, and which image gained the least and the most."""
    count = words.counted(len(images), "images")
    sizes = f"{words.size(source_bytes)} -> {words.size(stored_bytes)}"
    line = f"{count}, {sizes}, {words.change(stored_bytes / source_bytes - 1)}"
    copied = [image.name for image in images if image.copied]
    if copied:
        why = "it was" if len(copied) == 1 else "they were"
        line += f"; {len(copied):,} copied as {why} smaller ({_first(copied)})"
    lines = [line]
    changes = [
        (image.stored_bytes / image.source_bytes - 1, image.name)
        for image in images
        if image.stored_bytes is not None and image.source_bytes
    ]
    if len(changes) > 1:
        (least, first), (most, last) = max(changes), min(changes)
        lines.append(
            f"smallest gain: {words.change(least)} ({_name(first)}); "
            f"largest: {words.change(most)} ({_name(last)})"
        )
    return lines


def quality_lines(images: Sequence[QuantizedImage], mean_psnr: float | None, n_exact: int) -> list[str]:
    """Say how near the images are to their originals, the worst by its name."""
    exact = "it lost nothing" if len(images) == 1 else f"{n_exact:,} lost nothing"
    if mean_psnr is None:
        return [exact if len(images) == 1 else "none lost anything"]
    if len(images) == 1:
        return [f"PSNR {words.psnr(mean_psnr)}"]
    worst, name = min((image.psnr, image.name) for image in images if image.psnr is not None)
    line = f"mean PSNR {words.psnr(mean_psnr)}, worst {words.psnr(worst)} ({_name(name)})"
    return [f"{line}; {exact}" if n_exact else line]


def skipped_lines(skipped: Sequence[SkippedImage]) -> list[str]:
    """Say how many images were left out, and of the first why."""
    if not skipped:
        return []
    what = skipped[0].reason.partition("; ")[0]  # the rest, what is expected, was said when it was skipped
    first = f"{_name(skipped[0].key)}: {what}"
    return [f"skipped: {len(skipped):,} ({first}{'; ...' if len(skipped) > 1 else ''})"]


def _first(names: Sequence[str]) -> str:
    return _name(names[0]) + (", ..." if len(names) > 1 else "")


def _name(key: str) -> str:
    """A key as a terminal can show it."""
    return key if key.isprintable() else repr(key)

"""The report of quantize: the totals, and each image before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dkmeans.stages.shared.measured import COLUMNS

__all__ = ["QuantizedImage", "Written", "describe_image"]


@dataclass(frozen=True, slots=True)
class QuantizedImage:
    """One image before and after.

    Attributes
    ----------
    name, key : str
        Its key in the source, and that of its file in the destination; both in coded images.
    height, width : int
        In pixels.
    source_bytes : int
        As stored; of an image in a stack its share.
    stored_bytes : int or None
        Of its file; None in coded images, which have one array for all.
    bits_per_pixel : float or None
        8 x stored_bytes / pixels.
    psnr : float or None
        In dB; None where nothing is lost.
    ssim : float or None
        None for images too small for a window of 3 x 3.
    mse : float
        Mean squared error over all values.
    n_source_colors, n_colors : int
        Distinct colors of the image before and after.
    inertia : float
        Sum of the squared distances of its pixels, or patches, to the centers before they are rounded to
        colors; in squared units of the stored values. Without the effect of dithering.
    n_iter : int or None
        Iterations to a palette of its own; None or 0 without one.
    converged : bool or None
        Whether these ended before ``max_iter``.
    seconds : float or None
        From the bytes of the image to those of its file, the way to storage included; measuring is not.
        None in coded images.
    copied : bool
        Whether its file is that of the source, as a PNG would be larger.
    """

    name: str
    key: str
    height: int
    width: int
    source_bytes: int
    stored_bytes: int | None
    bits_per_pixel: float | None
    psnr: float | None
    ssim: float | None
    mse: float
    n_source_colors: int
    n_colors: int
    inertia: float
    n_iter: int | None
    converged: bool | None
    seconds: float | None
    copied: bool = False


@dataclass(frozen=True)
class Written:
    """Images written to `url`; the totals of `dkmeans.stages.quantize.QuantizeReport`."""

    url: str
    images: tuple[QuantizedImage, ...]
    n_skipped: int
    stored_bytes: int
    inertia: float
    n_iter: int
    converged: bool
    centers_sha256: str | None
    n_clusters: int
    n_copied: int = 0
    n_left_out: int = 0
    n_gone: int = 0
    n_kept: int = 0


def describe_image(name: str, key: str, height: int, width: int, found: dict[str, Any]) -> QuantizedImage:
    """Describe one image by a row of a table of measures, or by a record."""
    stored = found.get("stored_bytes")
    return QuantizedImage(
        name=name,
        key=key,
        height=height,
        width=width,
        bits_per_pixel=None if stored is None else 8 * stored / (height * width),
        copied=bool(found.get("copied")),
        **{column: found.get(column) for column in COLUMNS},  # type: ignore[arg-type]
    )

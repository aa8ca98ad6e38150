"""Every number of the report, by its name: what the template shows, and the JSON file beside the page has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Bytes", "Color", "ImageFacts", "ResultFacts", "Step"]


@dataclass(frozen=True)
class ImageFacts:
    """One image of a result beside its original.

    Attributes
    ----------
    position : int
        Its place in the index.
    psnr : float or None
        In dB; None where nothing is lost.
    ssim : float or None
        Structural similarity; None for an image too small for a window of 3 x 3.
    detail : tuple of int or None
        Top, left, height and width of the part where the two differ most; None for a small image.
    why : str
        Why it is shown rather than others; empty where all are, or they are spread evenly.
    missing : str or None
        Why there is no original to show beside it.
    """

    position: int
    name: str
    height: int
    width: int
    psnr: float | None
    ssim: float | None
    detail: tuple[int, int, int, int] | None
    why: str
    missing: str | None


@dataclass(frozen=True)
class Bytes:
    """Bytes of the images in each form.

    Attributes
    ----------
    source : int
        Files as they were found.
    raw : int
        Pixels without any compression.
    codes, codebook : int or None
        Arrays as stored: the codes, and the palette or centers that they point to; None of a folder of files.
    compressed : int or None
        Both together.
    images : int or None
        Files of the folder, or those written beside the codes; None where none were asked for.
    """

    source: int
    raw: int
    codes: int | None
    codebook: int | None
    compressed: int | None
    images: int | None

    @property
    def stored(self) -> int:
        """Bytes that the images take now: the codes with the codebook, or the files alone."""
        stored = self.images if self.compressed is None else self.compressed
        assert stored is not None
        return stored


@dataclass(frozen=True)
class Color:
    """A color of a palette, and the pixels of the fit nearest to it; None where these are unknown."""

    values: tuple[int, ...]
    count: int | None
    share: float | None


@dataclass(frozen=True)
class Step:
    """One iteration of the fit; `moved` is the share of rows that changed their center."""

    inertia: float
    moved: float


@dataclass(frozen=True)
class ResultFacts:
    """All numbers of one result.

    Attributes
    ----------
    result : str
        Its URL.
    source, dataset, codebook : str or None
        URLs of what it was made from: of quantize the source alone, of other stages the other two.
    own_palettes : bool
        Whether each image has a palette of its own.
    overlapping : bool
        Whether patches overlap.
    n_rows, same_dataset, max_iter : None without a codebook
        Rows of the fit, whether they are those of `dataset`, and the iterations that were allowed.
    gain_left : float or None
        Part of the inertia that an iteration took away at the end, where that is known.
    mean_ssim : float or None
        Mean over all images of quantize, or over those that are shown.
    n_similar : int
        The images that it is the mean of.
    n_iter : int
        Iterations; with palettes of their own the most that an image took.
    centers_sha256 : str or None
        None with palettes of their own.
    images : tuple of ImageFacts
        Those that are shown.
    colors : tuple of Color
        From dark to light; empty where there is no palette for all.
    steps : tuple of Step
        Empty where the iterations were not kept.
    files : tuple of dict
        What is known of each image, see `dkmeans.report.files.file_rows`; empty where that was not measured.
    """

    result: str
    source: str | None
    dataset: str | None
    codebook: str | None
    on: str
    own_palettes: bool
    overlapping: bool
    n_clusters: int
    patch: tuple[int, int] | None
    channels: int
    dtype: str
    n_images: int
    n_pixels: int
    n_rows: int | None
    same_dataset: bool | None
    mean_psnr: float | None
    n_exact: int
    rmse: float
    mean_ssim: float | None
    n_similar: int
    bytes: Bytes
    ratio_compressed: float | None
    ratio_images: float | None
    bits_per_pixel: float
    raw_bits_per_pixel: int
    n_iter: int
    max_iter: int | None
    converged: bool
    gain_left: float | None
    inertia: float
    centers_sha256: str | None
    images: tuple[ImageFacts, ...]
    colors: tuple[Color, ...]
    steps: tuple[Step, ...]
    files: tuple[dict[str, Any], ...]

    @property
    def change(self) -> float:
        """Share of bytes that the images take more now than their source files."""
        return self.bytes.stored / self.bytes.source - 1

    @property
    def limit(self) -> int:
        """Largest value that a pixel can have."""
        return int(np.iinfo(self.dtype).max)

"""One model for each study: images in, a page of pictures, numbers and figures out."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field

from dkmeans.config.base import Counts, Size
from dkmeans.config.stages import LearningConfig


class StudyConfig(LearningConfig):
    """Options that every study has."""

    out: str
    """URL of the folder to write: index.html, numbers.json, tables, figures, and what they come from."""
    max_iter: int = Field(default=1000, ge=1)
    """Most Lloyd iterations; so many that the fits converge."""


class DictionaryConfig(StudyConfig):
    """Study patches: how a dictionary of them changes with its size.

    How many clusters, how good, what they are, and what one image is made of. Writes OUT/index.html and all
    that it is made from.
    """

    source: str | None = None
    """Images to learn from, such as MNIST's IDX file; not given, the digits of scikit-learn."""
    test: str | None = None
    """Images that are not learned from, to try the codebooks on; not given, those learned from are tried."""
    n_clusters: Counts = Field(
        default=(*range(100, 1000, 100), *range(1000, 10_001, 1000)),
        validation_alias=AliasChoices("n_clusters", "k"),
    )
    """Numbers of clusters, such as 100,200,500, or 100:1000:100 with both ends included."""
    color: Literal["rgb", "gray"] = "gray"
    """Channels: 3 or 1."""
    patch: Size = (5, 5)
    """Height and width of the patches in pixels."""
    stride: Size = (1, 1)
    """Rows and columns from one patch to the next, in pixels."""


class PaletteConfig(StudyConfig):
    """Study photos with few colors: how many are enough.

    Finds the fewest colors for 30, 35 and 40 dB and for an SSIM of 0.95, and shows the photos in each number
    of colors, with error, bytes and distinct colors. Writes OUT/index.html and all that it is made from.
    """

    source: str | None = None
    """A folder of photos or one photo; not given, four photos of scikit-image."""
    n_clusters: Counts = Field(
        default=(2, 4, 8, 16, 32, 64, 128, 256), validation_alias=AliasChoices("n_clusters", "k")
    )
    """Numbers of colors to show, such as 2,4,8 or 2:16:2 with both ends."""
    palette: Literal["per-image", "shared"] = "per-image"
    """A palette for each image, or one for all."""


class FacesConfig(StudyConfig):
    """Study faces, or other images of one size.

    Their gray values in few levels and the bytes that saves, a gallery of typical images, and that codebook
    cut down to smaller ones beside direct fits. Writes OUT/index.html and all that it is made from.
    """

    source: str | None = None
    """Images of one size; not given, the faces of scikit-image."""
    levels: int = Field(default=8, ge=2, le=256)
    """Gray levels."""
    gallery: Size = (5, 8)
    """Rows and columns of the gallery of whole-image centers."""
    n_clusters: Counts = Field(default=(2, 5, 10, 20), validation_alias=AliasChoices("n_clusters", "k"))
    """Sizes to which the codebook of the gallery is cut, beside direct fits."""
    n_neighbors: int = Field(default=5, ge=1)
    """Nearest neighbors of each center in the graph that the second hierarchy joins along."""

"""One model for each stage: what it reads, what it writes, and its options with their units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import AliasChoices, Field

from dkmeans.config.base import Allowance, Bytes, Counts, Model, Size, StageConfig
from dkmeans.config.colors import Colors


class ReadingConfig(StageConfig):
    """How images are read."""

    max_skipped: Allowance = 0
    """How many unreadable images may be skipped: a number, a share such as 5%, or all."""
    profile: Literal["keep", "srgb"] = "keep"
    """Images with a color profile: keep their numbers, or convert them to sRGB with littleCMS."""
    max_image_pixels: int = Field(default=178_956_970, ge=1)
    """Pixels of the largest image to decode, as a guard against decompression bombs."""


class PngConfig(StageConfig):
    """How PNG files are written."""

    effort: int = Field(default=4, ge=0, le=9)
    """How hard to try for small PNG files; 0 is fastest, 7 to 9 need ``pip install 'dkmeans[oxipng]'``."""


class IngestConfig(ReadingConfig):
    """Store images as a dataset.

    The dataset holds chunked Zarr arrays of all pixels and, with --patch, of all patches that are not blank.
    Takes a folder or URL prefix of images, whatever their files are called, one image, an IDX file or an
    .npy stack.
    """

    source: str
    """A folder or URL prefix of images, one image, an IDX file, or an .npy stack."""
    dataset: str
    """URL of the dataset to write."""
    color: Literal["auto", "rgb", "gray", "rgba"] = "auto"
    """Channels of the stored pixels: rgb 3, gray 1, rgba 4; auto uses as few as all images need."""
    patch: Size | None = None
    """Height and width of the patches in pixels, such as 5 or 8x6; by default no patches are stored."""
    stride: Size = (1, 1)
    """Rows and columns from one patch to the next, in pixels."""
    blank_threshold: float = Field(default=0.0, ge=-1.0, le=1.0)
    """Keep a patch if its sum exceeds this share of the largest possible sum; -1 keeps all."""
    shard_mib: float = Field(default=64.0, gt=0, le=4096)
    """MiB of rows in one shard, which is what one task writes and one block of a fit holds."""
    update: bool = False
    """Append images that are new in the source to a complete dataset."""


class LearningConfig(StageConfig):
    """How centers are learned."""

    init: Literal["k-means||", "k-means||-cached", "k-means++", "random"] = "k-means||"
    """How to choose the first centers; the cached k-means|| takes half the time of dask-ml's at large k.
    For up to 256 colors, k-means|| is replaced by the best of several starts on a coarse grid."""
    max_iter: int = Field(default=100, ge=1)
    """Maximum number of Lloyd iterations."""
    tol: float = Field(default=1e-5, ge=0, allow_inf_nan=False)
    """Stop when the squared center shift is at most this fraction of the mean variance of the features."""
    min_gain: float = Field(default=2e-5, ge=0, lt=1)
    """Stop when an iteration reduces the inertia by less than this fraction, on average over the last five.
    It means the same for any number of clusters; 0 leaves the decision to --tol."""
    relaxation: float = Field(default=1.9, ge=1, le=1.99)
    """Move centers this many times the distance to the means of their rows while many rows still move, for
    fewer iterations; in hundredths. 1 is Lloyd's plain step."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random number."""

    @property
    def pace(self) -> dict[str, Any]:
        """How far the iterations go, as `dkmeans.clustering.loop.iterate` takes it."""
        return {name: getattr(self, name) for name in ("max_iter", "tol", "min_gain", "relaxation")}


class CheckpointConfig(LearningConfig):
    """How the state of a fit is kept while it is under way."""

    checkpoint_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Minimum seconds between checkpoints; 0 writes one after each iteration."""


class FitConfig(CheckpointConfig):
    """Learn a codebook by exact k-means.

    Clusters the pixels or the patches of a dataset. The same data, options and seed give the same bits on
    any number of workers.
    """

    dataset: str
    """URL of the dataset to read."""
    codebook: str
    """URL of the codebook to write."""
    n_clusters: int = Field(ge=1, validation_alias=AliasChoices("n_clusters", "k"))
    """Number of clusters."""
    on: Literal["pixels", "patches"] = "pixels"
    """What to cluster: single pixels or patches."""
    start: str | None = Field(default=None, validation_alias=AliasChoices("start", "from"))
    """URL of a codebook to start from, such as yesterday's for a dataset that has grown."""
    once: bool = False
    """Leave a complete codebook with the same options as it is, even if its dataset has changed since."""


class SweepConfig(CheckpointConfig):
    """Learn a codebook for each of several numbers of clusters.

    Reads the rows once and draws the seeds once. Shows how the inertia falls with more clusters, and where
    the curve bends.
    """

    dataset: str
    """URL of the dataset to read."""
    sweep: str
    """URL of the folder of codebooks to write."""
    n_clusters: Counts = Field(validation_alias=AliasChoices("n_clusters", "k"))
    """Numbers of clusters, such as 100,200,500, or 100:1000:100 with both ends included."""
    on: Literal["pixels", "patches"] = "pixels"
    """What to cluster: single pixels or patches."""


class CutConfig(StageConfig):
    """Cut a codebook down to fewer clusters, without a new fit.

    Joins its centers by Ward's linkage, and reads the dataset that it was fit on once, for the counts and
    the inertia.
    """

    codebook: str
    """URL of the codebook to read; the dataset that it was fit on is read as well."""
    cut: str
    """URL of the codebook to write."""
    n_clusters: int = Field(ge=1, validation_alias=AliasChoices("n_clusters", "k"))
    """Number of clusters to keep, fewer than the codebook has."""
    n_neighbors: int | None = Field(default=None, ge=1)
    """Join two groups only if a center of one is among this many nearest neighbors of a center of the other;
    by default any two may be joined."""


class ExportConfig(Model):
    """Write a codebook to one file in the format of another library.

    npz has all arrays, and the manifest as JSON text; sklearn is a fitted sklearn.cluster.KMeans in the
    format of skops; faiss is an IndexFlatL2 of the centers. None of them holds a pickle.
    """

    codebook: str
    """URL of the codebook to read."""
    out: str
    """URL of the file to write."""
    to: Literal["npz", "sklearn", "faiss"]
    """The library that reads the file; sklearn and faiss need ``pip install 'dkmeans[export]'``."""
    overwrite: bool = False
    """Replace an existing file."""


class CompressConfig(PngConfig):
    """Replace each pixel by its nearest color.

    Takes a codebook that was fit on pixels. Writes the codes, the palette and, with --images, one indexed PNG
    per image.
    """

    dataset: str
    """URL of the dataset to read."""
    codebook: str
    """URL of a codebook that was fit on pixels."""
    result: str
    """URL of the result to write."""
    images: str | None = None
    """URL of a folder for one indexed PNG per image; by default none are written."""
    update: bool = False
    """Do only what is new in the dataset since an earlier run; with other centers, all codes are new."""


class ReconstructConfig(PngConfig):
    """Rebuild images from a codebook of patches.

    Takes a codebook that was fit on patches. Writes the codes and, with --images, one PNG per image.
    """

    dataset: str
    """URL of the dataset to read."""
    codebook: str
    """URL of a codebook that was fit on patches."""
    result: str
    """URL of the result to write."""
    images: str | None = None
    """URL of a folder for one PNG per image; by default none are written."""
    update: bool = False
    """Do only what is new in the dataset since an earlier run; with other centers, all codes are new."""


class ColorsConfig(StageConfig):
    """Which colors, and how many, images are reduced to."""

    n_clusters: int = Field(default=256, ge=1, validation_alias=AliasChoices("n_clusters", "k"))
    """Maximum number of colors of an image, or of patches in the codebook of an archive."""
    quality: int | None = Field(default=None, ge=30, le=100)
    """Instead of --k: the fewest colors with which each image reaches this quality, 30 to 100: a mean
    squared error of at most (100 - quality) / 2, so 80 is a PSNR of 38.1 dB and 100 loses nothing."""
    min_psnr: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Instead of --k: the fewest colors with which each image reaches this PSNR, in dB."""
    min_ssim: float | None = Field(default=None, gt=0, le=1)
    """Instead of --k: the fewest colors with which each image reaches this SSIM, above 0 and at most 1."""
    max_bytes: Bytes | None = None
    """As many colors for each image, up to --k, as fit into a file of at most this size, such as 100KiB."""
    palette: str = "per-image"
    """A palette for each image (per-image), one for all images (shared), or given colors, like pngquant's
    --map: path or URL of a PNG, a GIMP palette (.gpl), a color table (.act), a text file with lines such as
    #ff8800, or a codebook. An archive always has one for all images."""
    keep: Colors | None = None
    """Colors that the palette must contain exactly, such as "#ff0000,#ffffff"; they count towards --k."""


class UpdateConfig(PngConfig):
    """Which files are written, beside those that are there, and in place of smaller ones."""

    if_larger: Literal["keep", "copy", "skip", "error"] = "copy"
    """What to do with an image whose PNG would be larger than its source: keep the PNG, copy the source, skip
    the image, or stop with an error. With --color, --profile, --keep or a palette that is not per image, the
    default is keep."""
    update: bool = False
    """Do only what is new or has changed since an earlier run, or was made with other options."""
    prune: bool = False
    """With --update: delete the files of images that no longer exist in the source."""


class QuantizeConfig(LearningConfig, ReadingConfig, ColorsConfig, UpdateConfig):
    """Reduce images to few colors in one step.

    Writes one PNG for each image, under the same key, each with a palette of its own or, with
    ``--palette shared``, all with one. With --to archive it writes one Zarr archive of codes of pixels or,
    with --patch, of patches, which dkmeans decode turns into images again. No dataset is stored.
    """

    source: str
    """A folder or URL prefix of images, one image, an IDX file, or an .npy stack."""
    destination: str
    """URL of the folder of PNG files, or of the archive, to write; images keep their keys. For one
    image it may be a file, such as small.png."""
    init: Literal["k-means||", "k-means||-cached", "k-means++", "random"] = "k-means||"
    """How to choose the first centers of a shared palette; a palette per image has its own starts."""
    to: Literal["png", "archive"] = "png"
    """One indexed PNG for each image, or one Zarr archive of codes for ``dkmeans decode``."""
    patch: Size | None = None
    """Archives only: code patches of this height and width, side by side; by default single pixels."""
    dither: Literal["none", "floyd-steinberg", "ordered"] = "none"
    """PNG only: mix colors by error diffusion, or by a fixed blue-noise mask."""
    dither_strength: float = Field(default=1.0, ge=0, le=1)
    """Share of the error that --dither compensates; less gives less grain."""
    report: str | None = None
    """Path of an HTML page to write, with images before and after, and a table of all."""
    color: Literal["auto", "rgb", "gray", "rgba"] = "auto"
    """Channels: rgb 3, gray 1, rgba 4; auto keeps those of each image; a shared palette has
    as few as all need."""
    space: Literal["rgb", "linear", "oklab"] = "rgb"
    """Space in which colors are compared: sRGB as stored, linear light, or OKLab, which is close to
    perception."""


class DecodeConfig(PngConfig):
    """Turn codes into image files again.

    Takes an archive of dkmeans quantize, or a result of dkmeans compress or reconstruct, and needs nothing
    else. Writes one PNG per image, indexed where its palette fits.
    """

    archive: str
    """URL of what quantize --to archive, compress or reconstruct has written."""
    images: str
    """URL of the folder of PNG files to write."""


class ReportConfig(Model):
    """Show results on one page of pictures.

    The HTML page needs no network: originals and results under a slider, a table of all files, codebooks,
    curves, PSNR, SSIM and bytes. Takes what compress, reconstruct and quantize have written. If an
    original of quantize is gone or has changed, the page says so.
    """

    page: str
    """Path of the HTML page to write."""
    results: Sequence[str] = Field(min_length=1)
    """URLs of results of compress and reconstruct, and of archives or folders of quantize."""
    n_images: int = Field(default=4, ge=1, le=100)
    """Images shown per result."""
    title: str = "dkmeans report"
    """Heading of the page."""

"""The page of the study of faces: gray levels, and the bytes that their codes take."""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dkmeans.report import figures, plots
from dkmeans.report.gathering import shown_positions
from dkmeans.report.study import Pictures, Section, Shown, Table
from dkmeans.studies.faces.facts import STRATEGIES, Made

__all__ = ["draw_bytes", "draw_levels"]

_N_SHOWN = 8
"""Images that are shown in few levels."""
_COLUMNS = 4
_HALF = 520
"""Pixels that one of two pictures beside each other may be wide."""
_MOST_ROWS = 32
"""Levels up to which a table lists each of them."""
_FORMS = {
    "image": ("image", "memory"),
    "labels": ("codes, int32", "memory"),
    "codes": ("codes, uint8", "memory"),
    "packed": ("codes, packed", "memory"),
    "image_files": ("image files", "disk"),
    "image_stored": ("image array", "disk"),
    "codes_stored": ("code array", "disk"),
    "code_files": ("indexed PNG", "disk"),
}
"""Forms of the images: key in the facts, words, and where they lie."""


def draw_levels(made: Made) -> Section:
    """The images in few gray levels, chosen in three ways."""
    answer = (
        "{/levels/best:text} loses least. A pixel is off by {/levels/kmeans/rmse:number} of 255 gray values "
        "(root mean square) with levels by k-means, by {/levels/uniform/rmse:number} with uniform bins, all "
        "of one width, and by {/levels/quantile/rmse:number} with quantile bins, of equal counts."
    )
    pictures = _in_levels(made), _histograms(made)
    return Section(
        f"{made.config.levels} gray levels", (answer, _strategy_table(), *pictures, *_level_table(made))
    )


def _strategy_table() -> Table:
    rows = tuple(
        (
            words,
            f"{{/levels/{name}/n_levels:integer}}",
            f"{{/levels/{name}/mse:number}}",
            f"{{/levels/{name}/rmse:number}}",
            f"{{/levels/{name}/psnr:psnr}}",
        )
        for name, words in STRATEGIES.items()
    )
    caption = "Errors over all pixels, each shown as the mean of its bin."
    return Table("strategies", ("Bins", "Levels", "MSE", "RMSE", "PSNR"), rows, caption)


def _in_levels(made: Made) -> Pictures:
    positions = shown_positions(made.dataset.n_images, _N_SHOWN)
    originals = np.stack([made.dataset.image(position) for position in positions])
    n, noun = len(originals), made.noun
    shown = [_tiles("original", originals, f"{n} {noun}", "The originals, 256 gray values")]
    for name, words in STRATEGIES.items():
        levels = made.levels[name]
        alt = f"The same {n} {noun} in {levels.bins.n_bins} gray levels, {words}"
        caption = f"{{/levels/{name}/n_levels:integer}} levels, {words}: PSNR {{/levels/{name}/psnr:psnr}}"
        shown.append(_tiles(name, levels.shown[levels.bins.labels][originals], alt, caption))
    return Pictures(tuple(shown), columns=2)


def _tiles(name: str, images: NDArray[np.uint8], alt: str, caption: str) -> Shown:
    zoom = max(1, min(8, (_HALF // _COLUMNS - 2) // images.shape[2]))
    return Shown(name, figures.grid(images, _COLUMNS, zoom), alt, caption, crisp=True)


def _histograms(made: Made) -> Pictures:
    shown = []
    for name, words in STRATEGIES.items():
        levels = made.levels[name]
        centers = made.facts["levels"]["kmeans"]["centers"] if name == "kmeans" else levels.shown
        lines = {"edges of bins": levels.bins.edges, "centers": centers}
        picture = plots.histogram(made.facts["gray_counts"], lines=lines, x_label="gray value")
        alt = f"Histogram of gray values with edges and centers of bins: {words}"
        shown.append(Shown(f"histogram-{name}", picture, alt, f"Gray values and bins: {words}"))
    return Pictures(tuple(shown), columns=3)


def _level_table(made: Made) -> tuple[Table, ...]:
    """List each level, its value and its pixels; no table for so many that nobody reads them."""
    if made.config.levels > _MOST_ROWS:
        return ()
    rows = []
    for level in range(made.config.levels):
        cells = (
            (f"{{/levels/{name}/values/{level}:integer}}", f"{{/levels/{name}/shares/{level}:share}}")
            if level < made.levels[name].bins.n_bins
            else ("", "")  # quantile bins may be fewer
            for name in STRATEGIES
        )
        rows.append((str(level + 1), *chain.from_iterable(cells)))
    header = ("Level", *chain.from_iterable((words, "pixels") for words in STRATEGIES.values()))
    return (
        Table("levels", header, tuple(rows), "The gray value of each level, and its share of the pixels."),
    )


def draw_bytes(made: Made) -> Section:
    """List the bytes of the images as pixels and as codes, in memory and on disk."""
    answer = (
        "Packed, {/bytes/bits:integer} bits a code, the codes take {/bytes/packed/bytes:size} in memory, "
        "{/bytes/packed/share:share} of the image. As scikit-learn's KMeans returns them, four bytes a code, "
        "they take {/bytes/labels/bytes:size}, {/bytes/labels/share:share} of the image: fewer levels save "
        "nothing until their bits are counted out."
    )
    rows = tuple(
        (
            words,
            where,
            f"{{/bytes/{name}/bytes:integer}}",
            f"{{/bytes/{name}/bits_per_pixel:number}}",
            f"{{/bytes/{name}/share:share}}",
        )
        for name, (words, where) in _FORMS.items()
    )
    caption = (
        "All {/images/n_images:integer} images together. Codes were packed bit by bit, 8 pixels in a byte, "
        "unpacked again and found the same; their {/levels/n_levels:integer} gray values are "
        "{/bytes/palette:integer} bytes more. Arrays are those of dataset and result, compressed by Zarr. A "
        "PNG file has a head and a palette of its own, which weigh most with small images."
    )
    table = Table("bytes", ("Form", "In", "Bytes", "Bits a pixel", "Of the image"), rows, caption)
    return Section("What it saves", (answer, _bits_plot(made), table))


def _bits_plot(made: Made) -> Shown:
    bits = [made.facts["bytes"][name]["bits_per_pixel"] for name in _FORMS]
    labels = [words for words, _ in _FORMS.values()]
    alt = "Bits a pixel of each form of the images"
    return Shown("bits", plots.bars(labels, bits, y_label="bits a pixel"), alt, "Bits a pixel of each form.")

"""The page of the study of faces: typical images and codebooks here, gray levels in `faces_levels`.

Pictures and words; every number in them is one of the study's facts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import Codebook
from dkmeans.features.space import FeatureSpace
from dkmeans.report import figures, plots
from dkmeans.report.study import Pictures, Section, Shown, Slider, Step, Study, Table, Text
from dkmeans.studies.faces.facts import Made
from dkmeans.studies.faces.levels import draw_bytes, draw_levels

__all__ = ["draw"]

_WIDE, _HALF = 1060, 530
"""Pixels that a picture across the page, and one of two beside each other, may be wide."""
_COLUMNS = 5
"""Centers beside each other in one of two pictures."""
_AS_GOOD = 1.05
"""Ratio of squared errors, a fifth of a decibel, up to which two codebooks count as equally good."""
_KINDS = {"direct": "direct fit", "cut": "cut, any two joined", "linked": "cut, neighbors joined"}
"""Codebooks of one size: key in the facts, and words."""


def draw(made: Made) -> Study:
    """The page as data.

    Parameters
    ----------
    made : Made
    """
    lead = (
        f"{{/images/n_images:integer}} {made.noun} of {{/images/height:integer}} × {{/images/width:integer}} "
        "pixels. In {/levels/n_levels:integer} gray levels chosen by k-means a pixel is off by "
        "{/levels/kmeans/rmse:number} of 255 gray values (root mean square), which shows as steps where the "
        "image is smooth, and takes {/bytes/bits:integer} bits instead of 8. k-means on whole images finds "
        f"{{/gallery/n_clusters:integer}} typical {made.noun}. Cut down to fewer without a new fit, "
        "this codebook has {/hierarchy/least_ratio:number} to {/hierarchy/largest_ratio:number} times the "
        f"squared error of a direct fit{_worth(made)}."
    )
    sections = (draw_levels(made), draw_bytes(made), _gallery(made), _hierarchy(made))
    title = f"{made.dataset.n_images:,} {made.noun} in few numbers"
    return Study(title, lead, made.facts, sections, made.urls)


def _worth(made: Made) -> str:
    """What the ratios of cuts mean for who has to choose."""
    if made.facts["hierarchy"]["largest_ratio"] <= _AS_GOOD:
        return ", so that it is as good"
    return "; where the error counts, fit anew"


def _centers(made: Made, codebook: Codebook) -> NDArray[np.uint8]:
    """The centers as images, those of most rows first; shape (n_clusters, height, width, 1)."""
    order = np.argsort(-codebook.counts, kind="stable")
    return FeatureSpace(np.dtype(np.uint8), 1, made.dataset.patch).to_pixels(codebook.centers[order])


def _gallery(made: Made) -> Section:
    rows, columns = made.config.gallery
    answer = (
        "Each of the {/gallery/n_clusters:integer} centers is the mean of the images that are nearest to it. "
        "The largest of these groups has {/gallery/largest:integer} of {/images/n_images:integer} images, "
        "and {/gallery/n_single:integer} centers stand for one image alone."
    )
    if 2 * made.facts["gallery"]["n_single"] > made.gallery.n_clusters:
        answer += (
            " So most of them are single images, not types: a smaller --gallery shows what images share."
        )
    shown = Shown(
        "gallery",
        figures.grid(_centers(made, made.gallery), columns, _zoom(made, columns, _WIDE)),
        f"{rows} rows and {columns} columns of typical {made.noun}",
        "Row by row, those that stand for the most images come first.",
        crisp=True,
    )
    return Section(f"Typical {made.noun}", (answer, shown))


def _zoom(made: Made, columns: int, widest: int) -> int:
    """Times that the pixels of images are enlarged, so that so many fit beside each other."""
    assert made.dataset.patch is not None
    return max(1, min(8, (widest // columns - 2) // made.dataset.patch[1]))


def _hierarchy(made: Made) -> Section:
    answer = (
        "The inertia of a cut, its squared error over all images, is {/hierarchy/least_ratio:number} to "
        "{/hierarchy/largest_ratio:number} times that of a direct fit of the same size"
        f"{_worth(made)}. Ward's linkage joins the {{/hierarchy/n_clusters:integer}} centers of the gallery "
        "step by step; a codebook of any smaller size is one cut through that tree. A direct fit ends in the "
        "good codebook that lies next to its seeds, not in the best one, so that a cut may come nearer to "
        "the images."
    )
    curves = Pictures((_inertia_plot(made), _ratio_plot(made)))
    parts = (answer, curves, _cut_table(made), _cut_galleries(made))
    return Section("From large to small codebooks", parts)


def _inertia_plot(made: Made) -> Shown:
    found = made.facts["hierarchy"]["sizes"]
    series = {words: [size[name]["inertia"] for size in found] for name, words in _KINDS.items()}
    sizes = [size["k"] for size in found]
    picture = plots.lines(sizes, series, x_label="clusters", y_label="inertia", log_x=True)
    caption = "Inertia over the number of clusters, counted over all images."
    return Shown("inertia", picture, "Inertia over the number of clusters: direct fits and cuts", caption)


def _ratio_plot(made: Made) -> Shown:
    found = made.facts["hierarchy"]["sizes"]
    ratios = {
        words: [np.nan if (ratio := size[name].get("ratio", 1.0)) is None else ratio for size in found]
        for name, words in _KINDS.items()
    }
    label = "inertia / that of a direct fit"
    picture = plots.lines(
        [size["k"] for size in found], ratios, x_label="clusters", y_label=label, log_x=True
    )
    caption = "The same as a ratio: above 1 the direct fit is nearer to the images, below 1 the cut is."
    return Shown("ratio", picture, "Inertia of cuts divided by that of direct fits", caption)


def _cut_table(made: Made) -> Table:
    rows = []
    for number, size in enumerate(made.facts["hierarchy"]["sizes"]):
        at = f"/hierarchy/sizes/{number}"
        cells: list[Text] = [f"{{{at}/k:integer}}", f"{{{at}/direct/inertia:number}}"]
        for name in ("cut", "linked"):
            ratio = f"{{{at}/{name}/ratio:number}}" if size[name]["ratio"] is not None else ""
            cells += [f"{{{at}/{name}/inertia:number}}", ratio]
        rows.append(tuple(cells))
    whole = made.facts["hierarchy"]["n_components"] == 1
    parts = "is in one piece" if whole else "had {/hierarchy/n_components:integer} parts, which were linked"
    caption = (
        "Inertia, and its ratio to that of the direct fit. Neighbors: two groups are joined only where a "
        "center of one is among the {/hierarchy/n_neighbors:integer} nearest of a center of the other; that "
        f"graph {parts}."
    )
    header = ("Clusters", "Direct fit", "Cut", "Ratio", "Cut, neighbors", "Ratio")
    return Table("cuts", header, tuple(rows), caption)


def _cut_galleries(made: Made) -> Slider:
    """A direct fit beside the cut of the same size; cuts by neighbors look much the same."""
    zoom = _zoom(made, _COLUMNS, _HALF)
    steps = []
    for number, size in enumerate(made.sizes):
        at, k, shown = f"/hierarchy/sizes/{number}", size.direct.n_clusters, []
        for name, codebook in (("direct", size.direct), ("cut", size.cut)):
            picture = figures.grid(_centers(made, codebook), _COLUMNS, zoom)
            alt = f"{k} typical {made.noun}: {_KINDS[name]}"
            caption = _KINDS[name].capitalize()
            shown.append(Shown(f"{name}-{k}", picture, alt, caption, crisp=True))
        facts = (
            ("Inertia of the direct fit", f"{{{at}/direct/inertia:number}}"),
            ("Inertia of the cut", f"{{{at}/cut/inertia:number}}"),
        )
        steps.append(Step(f"{{{at}/k:integer}} centers", tuple(shown), facts))
    return Slider("Centers", tuple(steps), len(steps) // 2, columns=1)

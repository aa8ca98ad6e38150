"""The page of the study of patches: pictures and words; every number in them is one of its facts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage

from dkmeans import kernels
from dkmeans.report import figures, plots
from dkmeans.report.study import Pictures, Section, Shown, Slider, Step, Study, Table, Text
from dkmeans.studies.dictionary.facts import DIRECTIONS, Made

__all__ = ["draw"]

_WIDE, _THIRD = 1060, 320
"""Pixels of a picture across the page, and of one of three beside each other."""
_ORDERED = (100, 1000)
"""Codebooks that are shown whole; of other sweeps the first and, if not too large, the middle one."""
_MOST_ORDERED = 1024


def draw(made: Made) -> Study:
    """The page as data."""
    facts = made.facts
    last = len(facts["by_k"]) - 1
    bend = (
        "The curve bends at {/elbow/n_clusters:integer} clusters: beyond it, more of them gain little."
        if facts["elbow"]
        else "The curve of errors has no elbow: each further cluster gains about what it costs."
    )
    lead = (
        f"{{/dataset/n_patches:integer}} patches of {{/dataset/height:integer}} × {{/dataset/width:integer}} "
        f"pixels from {{/dataset/n_images:integer}} {made.noun}, by codebooks of "
        f"{{/by_k/0/n_clusters:integer}} to {{/by_k/{last}/n_clusters:integer}} typical patches. {bend} "
        f"From the smallest to the largest codebook a patch is told with {{/by_k/0/psnr:psnr}} to "
        f"{{/by_k/{last}/psnr:psnr}}."
    )
    sections = (_how_many(made), _samples(made), _centers(made), _rebuilt(made), _cover(made), _kinds(made))
    return Study(f"A dictionary of {made.noun}", lead, facts, sections)


def _per_k(made: Made, name: str) -> NDArray[np.float64]:
    return np.array([row[name] for row in made.facts["by_k"]], np.float64)


def _marks(made: Made) -> dict[str, tuple[float, float]]:
    elbow = made.facts["elbow"]
    return {"elbow": (elbow["n_clusters"], elbow["mse"])} if elbow else {}


def _how_many(made: Made) -> Section:
    rows = made.facts["by_k"]
    answer: Text = (
        "By the kneedle method the elbow is at {/elbow/n_clusters:integer} clusters, with a mean squared "
        "error of {/elbow/mse:number} and {/elbow/psnr:psnr}. It is where the curve is farthest from the "
        "straight line between its ends; whoever needs a smaller error goes beyond it."
        if made.facts["elbow"]
        else "The kneedle method finds no elbow in this curve."
    )
    curve = Shown(
        "mse",
        plots.lines(
            _per_k(made, "n_clusters"),
            {"mean squared error": _per_k(made, "mse")},
            x_label="clusters",
            y_label="mean squared error",
            marks=_marks(made),
        ),
        "Mean squared error between patches and their centers, against the number of clusters",
        "Mean squared error for each value of a patch, over all patches.",
    )
    gaps = Shown(
        "gaps",
        plots.lines(
            _per_k(made, "n_clusters"),
            {
                "to the nearest other center": _per_k(made, "median_gap"),
                "from patch to center": np.sqrt(_per_k(made, "mse")),
            },
            x_label="clusters",
            y_label="root mean square",
            log_x=True,
        ),
        "Distance between neighboring centers, and error of a patch, against the number of clusters",
        "How clusters change: with more of them the centers move together, and the error shrinks with that.",
    )
    table = Table(
        "by_k",
        ("Clusters", "MSE", "PSNR", "Inertia", "Iterations", "Their time", "Patches of a center (median)"),
        tuple(
            (
                f"{{/by_k/{place}/n_clusters:integer}}",
                f"{{/by_k/{place}/mse:number}}",
                f"{{/by_k/{place}/psnr:psnr}}",
                f"{{/by_k/{place}/inertia:number}}",
                f"{{/by_k/{place}/n_iter:integer}}" + ("" if row["converged"] else ", not converged"),
                f"{{/by_k/{place}/seconds:seconds}}",
                f"{{/by_k/{place}/median_count:number}}",
            )
            for place, row in enumerate(rows)
        ),
    )
    return Section("How many clusters?", (answer, Pictures((curve, gaps)), table))


def _tiles(made: Made, values: NDArray[Any]) -> NDArray[np.uint8]:
    return figures.eight_bits(values.reshape(-1, *made.patch), made.limit)


def _samples(made: Made) -> Section:
    n_random = len(made.random)
    known = list(made.sweep.n_clusters)
    steps = []
    for k, book in made.books.items():
        labels = kernels.load(made.random).labels(book.centers)
        tiles = np.concatenate([_tiles(made, made.random), _tiles(made, book.centers[labels])])
        shown = Shown(
            f"random-{k}",
            figures.grid(tiles, n_random, max(1, _THIRD // n_random // made.patch[1])),
            f"{n_random} patches above their nearest of {k} centers",
            crisp=True,
        )
        at = f"/by_k/{known.index(k)}"
        facts = (("MSE", f"{{{at}/mse:number}}"), ("PSNR", f"{{{at}/psnr:psnr}}"))
        steps.append(Step(f"{{{at}/n_clusters:integer}} clusters", (shown,), facts))
    answer = (
        f"The same {n_random} patches, drawn at random, each above its nearest center. The more centers "
        "there are, the more of a patch its center keeps."
    )
    slider = Slider("Clusters", tuple(steps))
    return Section("How well does a center stand for a patch?", (answer, slider))


def _ordered(centers: NDArray[np.float32], columns: int) -> NDArray[np.int64]:
    """Centers so that neighbors look alike: the leaves of Ward's tree, in rows that go to and fro.

    Z. Bar-Joseph et al., Fast optimal leaf ordering for hierarchical clustering, Bioinformatics 17, 2001.
    """
    order = (
        leaves_list(linkage(centers, "ward", optimal_ordering=True))
        if len(centers) > 2
        else np.arange(len(centers))
    )
    parts = [order[start : start + columns] for start in range(0, len(order), columns)]
    full = [part[::-1] if place % 2 and len(part) == columns else part for place, part in enumerate(parts)]
    return np.concatenate(full)


def _centers(made: Made) -> Section:
    known = made.sweep.n_clusters
    chosen = [k for k in _ORDERED if k in known] or [
        k for k in dict.fromkeys((known[0], known[len(known) // 2])) if k <= _MOST_ORDERED
    ]
    shown = []
    for k in chosen:
        columns = max(1, round((2.5 * k * made.patch[0] / made.patch[1]) ** 0.5))
        zoom = max(1, (_WIDE // columns - 2) // made.patch[1])
        centers = made.sweep.codebook(k).centers
        tiles = _tiles(made, centers[_ordered(centers, columns)])
        text = f"All {k:,} centers, neighbors by how alike they are."
        shown.append(
            Shown(f"centers-{k}", figures.grid(tiles, columns, min(zoom, 12)), text, text, crisp=True)
        )
    answer = "Strokes of every direction, ends, corners and bows: what writing is made of."
    if made.noun != "digits":
        answer = "Each tile is the mean of the patches that are nearest to it."
    return Section("What do the centers look like?", (answer, *shown))


def _rebuilt(made: Made) -> Section:
    last = len(made.facts["by_k"]) - 1
    shown = [_rebuilt_slider(made, place) for place in range(len(made.tried))]
    table = Table(
        "rebuilt",
        (
            "Clusters",
            *(
                f"{name}: {what}"
                for name in made.facts["tried"]
                for what in ("PSNR", "distinct codes", "share of the five most used")
            ),
        ),
        tuple(
            (
                f"{{/by_k/{row}/n_clusters:integer}}",
                *(
                    f"{{/by_k/{row}/tried/{place}/{name}}}"
                    for place in range(len(made.tried))
                    for name in ("psnr:psnr", "n_codes:integer", "top_share:share")
                ),
            )
            for row in range(last + 1)
        ),
    )
    answer = (
        "One image is {/by_k/0/tried/0/n_patches:integer} overlapping patches. By the smallest codebook it "
        "uses {/by_k/0/tried/0/n_codes:integer} different ones, by the largest "
        f"{{/by_k/{last}/tried/0/n_codes:integer}}: the more centers, the more patches have "
        "one of their own."
    )
    return Section("What is one image made of?", (answer, *shown, table))


def _rebuilt_slider(made: Made, place: int) -> Slider:
    """One image, and what each codebook makes of it."""
    tried = made.tried[place]

    def draw_one(pixels: NDArray[Any]) -> figures.Picture:
        return figures.photo(figures.eight_bits(pixels, made.limit))

    steps = []
    for row, result in enumerate(tried.results):
        k = made.facts["by_k"][row]["n_clusters"]
        at = f"/by_k/{row}/tried/{place}"
        shown = Shown(f"rebuilt-{place}-{k}", draw_one(result), f"{tried.name} by {k} patches", crisp=True)
        facts = (
            ("PSNR", f"{{{at}/psnr:psnr}}"),
            ("Distinct codes", f"{{{at}/n_codes:integer}}"),
            ("Share of the five most used", f"{{{at}/top_share:share}}"),
        )
        steps.append(Step(f"{{/by_k/{row}/n_clusters:integer}} clusters", (shown,), facts))
    before = Shown(
        f"rebuilt-{place}-original",
        draw_one(tried.original),
        f"{tried.name}, the original",
        f"Original: {{/tried/{place}:text}}",
        crisp=True,
    )
    return Slider("Clusters", tuple(steps), len(steps) // 2, before)


def _cover(made: Made) -> Section:
    rows = made.facts["by_k"]
    bounds = list(rows[0]["coverage"])
    last = len(rows) - 1
    middle = bounds[len(bounds) // 2]
    answer = (
        f"Within a root mean square error of {middle} of 255 levels, {{/by_k/0/n_clusters:integer}} clusters "
        f"cover {{/by_k/0/coverage/{middle}:share}} of the patches and "
        f"{{/by_k/{last}/n_clusters:integer}} cover {{/by_k/{last}/coverage/{middle}:share}}; measured on "
        "{/dataset/n_sample:integer} patches drawn at random."
    )
    curve = Shown(
        "coverage",
        plots.lines(
            _per_k(made, "n_clusters"),
            {
                f"within {bound} levels": np.array([row["coverage"][bound] for row in rows])
                for bound in bounds
            },
            x_label="clusters",
            y_label="share of patches covered",
            log_x=True,
        ),
        "Share of patches within three errors of their center, against the number of clusters",
    )
    table = Table(
        "coverage",
        ("Clusters", *(f"Within {bound}" for bound in bounds)),
        tuple(
            (
                f"{{/by_k/{place}/n_clusters:integer}}",
                *(f"{{/by_k/{place}/coverage/{bound}:share}}" for bound in bounds),
            )
            for place in range(len(rows))
        ),
    )
    return Section("How many clusters cover the space of patches?", (answer, curve, table))


def _kinds(made: Made) -> Section:
    shown = []
    sizes = list(made.facts["shown"])
    for k in dict.fromkeys((sizes[0], sizes[len(sizes) // 2])):
        found = made.facts["shown"][k]
        n_inks = len(found["ink"])
        inks = [f"{100 * i // n_inks}–{100 * (i + 1) // n_inks} %" for i in range(n_inks)]
        shown.append(
            Shown(
                f"ink-{k}",
                plots.bars(inks, found["ink"], y_label="share of centers", percent=True),
                f"Shares of {k} centers by their brightness",
                f"{int(k):,} clusters by ink: mean brightness of the center.",
            )
        )
        turned = [*(found["directions"][name] for name in DIRECTIONS), found["flat"]]
        shown.append(
            Shown(
                f"directions-{k}",
                plots.bars([*DIRECTIONS, "none"], turned, y_label="share of centers", percent=True),
                f"Shares of {k} centers by the direction in which they become brighter",
                f"{int(k):,} clusters by direction: where the center becomes brighter.",
            )
        )
    first = sizes[0]
    answer = (
        f"Of {{/shown/{first}/n_clusters:integer}} centers {{/shown/{first}/flat:share}} have no direction; "
        "the others are edges and strokes, and the bars tell where they become brighter."
    )
    return Section("What are the clusters?", (answer, Pictures(tuple(shown))))

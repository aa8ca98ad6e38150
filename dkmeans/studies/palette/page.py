"""The page of the study of palettes: pictures and words; every number in them is one of its facts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.features.histogram import Histogram
from dkmeans.report import figures, plots
from dkmeans.report.references import literal
from dkmeans.report.study import Pictures, Section, Shown, Slider, Step, Study, Table, Text
from dkmeans.studies.palette.advice import goals_section, image_goals, needs
from dkmeans.studies.palette.facts import Made

__all__ = ["draw"]

_GOOD = 35.0
"""PSNR in dB of the size that is shown first."""


def draw(made: Made) -> Study:
    """The page as data."""
    facts, last = made.facts, len(made.facts["by_k"]) - 1
    one = facts["n_images"] == 1
    each = "each with a palette of its own" if facts["palette"] == "per-image" else "with one palette for all"
    lead = (
        f"{{/n_images:integer}} photo{'' if one else 's'} in {{/by_k/0/n_clusters:integer}} to "
        f"{{/by_k/{last}/n_clusters:integer}} colors{'' if one else f', {each}'}. {needs(made)}"
    )
    sections = (
        goals_section(made),
        _by_k(made),
        *(_photo(made, position) for position in made.photos),
        _colors(made),
    )
    title = f"How many colors {'does a photo' if one else 'do photos'} need?"
    return Study(title, lead, facts, sections, made.folders)


def _ks(made: Made) -> NDArray[np.float64]:
    return np.array([row["n_clusters"] for row in made.facts["by_k"]], np.float64)


def _by_k(made: Made) -> Section:
    rows = made.facts["by_k"]
    inertia = np.array([row["inertia"] for row in rows])
    bend = made.facts["elbow"]
    place = next((place for place, row in enumerate(rows) if row["n_clusters"] == bend), None)
    elbow: Text = (
        "The curve of the inertia has no elbow."
        if place is None
        else "The curve of the inertia bends at {/elbow:integer} colors (its elbow, by the kneedle method). "
        "That is where further colors begin to gain less, not where photos begin to look good: the mean PSNR "
        f"is {{/by_k/{place}/psnr:psnr}} there."
    )
    answer = (
        f"{elbow} Inertia is the sum of the squared differences between pixels and their colors, intensities "
        "from 0 to 1: what scikit-learn gives for pixels divided by 255."
    )
    marks = {} if place is None else {"elbow": (bend, float(inertia[place]))}
    curve = Shown(
        "inertia",
        plots.lines(
            _ks(made), {"inertia": inertia}, x_label="colors", y_label="inertia", log_x=True, marks=marks
        ),
        "Inertia against the number of colors",
    )
    psnr = np.array([np.nan if row["psnr"] is None else row["psnr"] for row in rows])
    quality = Shown(
        "psnr",
        plots.lines(_ks(made), {"mean PSNR": psnr}, x_label="colors", y_label="mean PSNR in dB", log_x=True),
        "Mean PSNR against the number of colors",
    )
    table = Table(
        "by_k",
        ("Colors", "Inertia", "Mean PSNR", "Mean SSIM", "Files", "Bits per pixel"),
        tuple(
            (
                f"{{/by_k/{place}/n_clusters:integer}}",
                f"{{/by_k/{place}/inertia:number}}",
                f"{{/by_k/{place}/psnr:psnr}}",
                f"{{/by_k/{place}/ssim:number}}" if row["ssim"] is not None else "n/a",
                f"{{/by_k/{place}/stored_bytes:size}}",
                f"{{/by_k/{place}/bits_per_pixel:number}}",
            )
            for place, row in enumerate(rows)
        ),
    )
    return Section("What each number of colors gives", (answer, Pictures((curve, quality)), table))


def _photo(made: Made, position: int) -> Section:
    """One photo beside what is left of it, with the colors of each."""
    image = f"/images/{position}"
    name = made.facts["images"][position]["name"]
    original, *reduced = made.photos[position]
    ks = [row["n_clusters"] for row in made.facts["by_k"]]
    files = made.files[position]
    before = Shown(
        f"photo-{position}-original",
        figures.photo(original),
        f"{name}, the original",
        f"Original: {{{image}/n_colors:integer}} colors, {{{image}/source_bytes:size}}",
        file=files[0],
    )
    steps = tuple(
        Step(
            f"{{/by_k/{place}/n_clusters:integer}} color{'s' if k > 1 else ''}",
            (Shown(f"photo-{position}-{k}", figures.photo(pixels), f"{name} in {k} colors", file=file),),
            _step_facts(f"/by_k/{place}/images/{position}", made.facts["by_k"][place]["images"][position]),
        )
        for place, (k, pixels, file) in enumerate(zip(ks, reduced, files[1:], strict=True))
    )
    answer = (
        f"{{{image}/width:integer}} × {{{image}/height:integer}} pixels of {{{image}/n_colors:integer}} "
        f"distinct colors. {image_goals(made, position)}"
    )
    strips = Shown(
        f"palettes-{position}",
        figures.share_strips([_sorted_colors(pixels) for pixels in reduced]),
        f"The colors of {name}, each as wide as its share of the pixels",
        "The palettes, each color as wide as its share of the pixels.",
    )
    found = [row["images"][position]["psnr"] for row in made.facts["by_k"]]
    good = (place for place, psnr in enumerate(found) if psnr is None or psnr >= _GOOD)
    start = next(good, len(ks) - 1)
    return Section(name, (answer, Slider("Colors", steps, start, before), strips))


def _step_facts(at: str, row: dict[str, Any]) -> tuple[tuple[str, Text], ...]:
    """What is told of a photo in some number of colors, whose facts are `row`."""
    ssim = f"{{{at}/ssim:number}}" if row["ssim"] is not None else "n/a"
    return (
        ("PSNR", f"{{{at}/psnr:psnr}}"),
        ("SSIM", ssim),
        ("File", f"{{{at}/stored_bytes:size}}"),
        ("Distinct colors", f"{{{at}/n_colors:integer}}"),
    )


def _sorted_colors(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The colors of an image from dark to light, and how often each occurs."""
    found = Histogram.of(pixels.reshape(-1, 3))
    order = np.argsort(found.colors @ np.array([0.2126, 0.7152, 0.0722]), kind="stable")  # Rec. 709
    return found.colors[order], found.counts[order]


def _colors(made: Made) -> Section:
    """Distinct colors before and after, of every image."""
    ks = [row["n_clusters"] for row in made.facts["by_k"]]
    table = Table(
        "colors",
        ("Image", "Before", *(f"With {k}" for k in ks)),
        tuple(
            (
                literal(image["name"]),
                f"{{/images/{position}/n_colors:integer}}",
                *(f"{{/by_k/{place}/images/{position}/n_colors:integer}}" for place in range(len(ks))),
            )
            for position, image in enumerate(made.facts["images"])
        ),
    )
    answer = (
        "Distinct colors that occur in each image. Two centers may be rounded to the same color, so there "
        "can be fewer than were asked for."
    )
    return Section("Colors before and after", (answer, table))

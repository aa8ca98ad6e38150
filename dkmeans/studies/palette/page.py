"""The page of the study of palettes: pictures and words; every number in them is one of its facts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.features.histogram import Histogram
from dkmeans.report import figures, plots
from dkmeans.report.references import literal
from dkmeans.report.study import Pictures, Section, Shown, Slider, Step, Study, Table, Text
from dkmeans.studies.palette.facts import Made

__all__ = ["draw"]


def draw(made: Made) -> Study:
    """The page as data."""
    facts, last = made.facts, len(made.facts["by_k"]) - 1
    noun = "photo" if facts["n_images"] == 1 else "photos"
    bend = (
        "The curve of the error bends at {/elbow:integer} colors: beyond it, more of them gain little. "
        if facts["elbow"]
        else "The curve of the error has no elbow. "
    )
    each = "each with a palette of its own" if facts["palette"] == "per-image" else "with one palette for all"
    lead = (
        f"{{/n_images:integer}} {noun} in {{/by_k/0/n_clusters:integer}} to "
        f"{{/by_k/{last}/n_clusters:integer}} colors, {each}. {bend}With "
        f"{{/by_k/{last}/n_clusters:integer}} colors the mean PSNR is {{/by_k/{last}/psnr:psnr}}, and the "
        f"files take {{/by_k/{last}/stored_bytes:size}} instead of {{/source_bytes:size}}."
    )
    sections = (_how_many(made), *(_photo(made, position) for position in made.photos), _colors(made))
    title = f"How many colors {'does a photo' if facts['n_images'] == 1 else 'do photos'} need?"
    return Study(title, lead, facts, sections, made.folders)


def _ks(made: Made) -> NDArray[np.float64]:
    return np.array([row["n_clusters"] for row in made.facts["by_k"]], np.float64)


def _how_many(made: Made) -> Section:
    rows = made.facts["by_k"]
    inertia = np.array([row["inertia"] for row in rows])
    bend = made.facts["elbow"]
    answer: Text = (
        "By the kneedle method the elbow is at {/elbow:integer} colors. Inertia is the sum of the squared "
        "differences between pixels and their colors, intensities from 0 to 1: what scikit-learn gives for "
        "pixels divided by 255."
        if bend
        else "The kneedle method finds no elbow in this curve. Inertia is the sum of the squared differences "
        "between pixels and their colors, intensities from 0 to 1."
    )
    marks = {"elbow": (bend, float(inertia[_ks(made) == bend][0]))} if bend else {}
    curve = Shown(
        "inertia",
        plots.lines(_ks(made), {"inertia": inertia}, x_label="colors", y_label="inertia", marks=marks),
        "Inertia against the number of colors",
    )
    psnr = np.array([np.nan if row["psnr"] is None else row["psnr"] for row in rows])
    quality = Shown(
        "psnr",
        plots.lines(_ks(made), {"mean PSNR": psnr}, x_label="colors", y_label="mean PSNR in dB"),
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
    return Section("How many colors?", (answer, Pictures((curve, quality)), table))


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
    bend = made.facts["images"][position]["elbow"]
    answer = (
        f"{{{image}/width:integer}} × {{{image}/height:integer}} pixels of "
        f"{{{image}/n_colors:integer}} distinct colors. "
        + (f"Its curve bends at {{{image}/elbow:integer}} colors." if bend else "Its curve has no elbow.")
    )
    strips = Shown(
        f"palettes-{position}",
        figures.share_strips([_sorted_colors(pixels) for pixels in reduced]),
        f"The colors of {name}, each as wide as its share of the pixels",
        "The palettes, each color as wide as its share of the pixels.",
    )
    start = ks.index(bend) if bend else len(ks) // 2
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
        ("Image", "Before", *(f"With {k}" for k in ks), "Elbow"),
        tuple(
            (
                literal(image["name"]),
                f"{{/images/{position}/n_colors:integer}}",
                *(f"{{/by_k/{place}/images/{position}/n_colors:integer}}" for place in range(len(ks))),
                f"{{/images/{position}/elbow:integer}}" if image["elbow"] else "none",
            )
            for position, image in enumerate(made.facts["images"])
        ),
    )
    answer = (
        "Distinct colors that occur in each image. Two centers may be rounded to the same color, so there "
        "can be fewer than were asked for."
    )
    return Section("Colors before and after", (answer, table))

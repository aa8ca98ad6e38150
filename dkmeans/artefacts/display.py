"""The HTML that a notebook shows of an artefact: facts, and a few small pictures.

Plain HTML: no script, no style sheet, nothing from a network. What storage cannot give is said, not raised.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.features.space import FeatureSpace

if TYPE_CHECKING:
    from dkmeans.artefacts.codebook import CodebookManifest
    from dkmeans.artefacts.coded import CodedManifest
    from dkmeans.artefacts.dataset import DatasetManifest
    from dkmeans.artefacts.sweep import SweepManifest

__all__ = [
    "N_THUMBNAILS",
    "Fact",
    "curve",
    "describe_codebook",
    "describe_coded",
    "describe_dataset",
    "describe_sweep",
    "gallery",
    "page",
    "text",
    "thumbnails",
]

N_THUMBNAILS = 8
"""Images that are shown of a dataset or result."""

_SIDE = 128
"""Pixels of the longer side of a thumbnail."""
_READ_PIXELS = 1 << 25
"""Pixels that are read for all thumbnails together."""
_N_TILES = 100
_TILE_SIDE = 32
_GALLERY_PIXELS = 1 << 20
_GALLERY_WIDTH = 720
_GAP = 2
_COLORS = {1: "gray", 2: "gray-alpha", 3: "rgb", 4: "rgba"}
_CURVE = (420, 200)
"""Width and height of a curve in pixels."""
_MARGIN = 24
_Picture = NDArray[np.uint8] | str | None
_Pictures = Iterable[tuple[str, _Picture]]


class Fact(NamedTuple):
    """One fact: its name and value in a table, and the words for it in a line."""

    name: str
    value: str
    words: str


def text(kind: str, url: str, facts: Sequence[Fact]) -> str:
    """The one line of ``repr``: ``Dataset(photos.zarr: 4 images, 786,432 pixels)``."""
    name = url.rstrip("/").rsplit("/", 1)[-1]
    told = ", ".join(fact.words for fact in facts)
    return f"{kind}({name}: {told})" if told else f"{kind}({name})"


def page(kind: str, url: str, facts: Sequence[Fact], pictures: Callable[[], _Pictures]) -> str:
    """A table of facts and, below it, pictures with captions.

    Parameters
    ----------
    kind, url : str
    facts : sequence of Fact
    pictures : callable
        Gives captions and pixels, (height, width, 1 | 3 | 4) uint8, an SVG, or None for words alone. It may
        fail: that is said in their place.
    """
    cells = (
        f'<tr><th style="text-align:left">{html.escape(name)}</th>'
        f'<td style="text-align:left">{html.escape(value)}</td></tr>'
        for name, value in [(kind, url), *((fact.name, fact.value) for fact in facts)]
    )
    shown = []
    try:
        for caption, pixels in pictures():
            shown.append(_figure(caption, pixels))
    except Exception as error:  # of storage, or of whatever lies there: a repr does not fail
        shown.append(f"<p>not shown: {html.escape(f'{type(error).__name__}: {error}')}</p>")
    return f"<div><table>{''.join(cells)}</table>{''.join(shown)}</div>"


def _figure(caption: str, picture: _Picture) -> str:
    name = html.escape(caption)
    if picture is None:
        return f"<p>{name}</p>"
    if not isinstance(picture, str):
        from dkmeans.images.encode import encode_png  # here, as text() needs no library for images

        data = base64.b64encode(encode_png(picture)).decode("ascii")
        picture = f'<img alt="{name}" src="data:image/png;base64,{data}">'
    return (
        f'<figure style="display:inline-block;margin:4px;vertical-align:top">{picture}'
        f"<figcaption>{name}</figcaption></figure>"
    )


def describe_dataset(found: DatasetManifest) -> list[Fact]:
    """Facts of a dataset."""
    facts = [_number(found.n_images, "image"), _number(found.n_pixels, "pixel")]
    facts.append(_values(found.channels, found.dtype))
    if found.patch:
        n, size = f"{found.n_patches:,}", _size(found.patch)
        facts.append(Fact("patches", f"{n} of {size}", f"{size} patches: {n}"))
    if found.n_skipped:
        n = f"{found.n_skipped:,}"
        facts.append(Fact("skipped", n, f"{n} skipped"))
    return facts


def describe_codebook(found: CodebookManifest) -> list[Fact]:
    """Facts of a codebook."""
    patch = found.space.patch
    centers = f"{found.n_clusters:,} {f'patches of {_size(patch)}' if patch else 'colors'}"
    word, inertia = "converged" if found.converged else "not converged", f"{found.inertia:.6g}"
    return [
        Fact("centers", centers, centers),
        _values(found.space.channels, str(found.space.dtype)),
        _number(found.n_iter, "iteration"),
        Fact("converged", "yes" if found.converged else "no", word),
        Fact("inertia", inertia, f"inertia {inertia}"),
    ]


def describe_sweep(found: SweepManifest) -> list[Fact]:
    """Facts of a sweep."""
    sizes, noun = found.n_clusters, "patches" if found.space.patch else "colors"
    span = f"{sizes[0]:,} {noun}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,} {noun}"
    facts = [_number(len(sizes), "codebook"), Fact("centers", span, span), _number(found.n_rows, "row")]
    for name, words, n in (("elbow", "elbow at", found.elbow), ("groups", "groups:", found.n_groups)):
        value = "none found" if n is None else f"{n:,}"
        facts.append(Fact(name, value, f"{words} {value}" if n is not None else f"no {name}"))
    return facts


def describe_coded(found: CodedManifest) -> list[Fact]:
    """Facts of coded images."""
    of = f"{found.n_clusters:,} {'colors' if found.decoder == 'palette' else 'patches'}"
    facts = [_number(found.n_images, "image"), _number(found.n_codes, "code"), Fact("codebook", of, of)]
    if found.mean_psnr is not None:
        value = f"{found.mean_psnr:.2f} dB"
        facts.append(Fact("mean PSNR", value, value))
    return facts


def _number(n: int, noun: str) -> Fact:
    """A number and what it counts."""
    return Fact(f"{noun}s", f"{n:,}", f"{n:,} {noun}{'' if n == 1 else 's'}")


def _values(channels: int, dtype: str) -> Fact:
    kind = f"{_COLORS.get(channels, '')} {dtype}".strip()
    return Fact("values", kind, kind)


def _size(size: Any) -> str:
    return f"{size[0]}x{size[1]}"


def curve(
    n_clusters: Sequence[int], mse: NDArray[np.float64], marks: Mapping[str, int | None]
) -> tuple[str, str]:
    """A caption and an SVG: the mean squared error against the number of clusters, on a logarithmic axis.

    Parameters
    ----------
    n_clusters : sequence of int
        Ascending.
    mse : ndarray of shape (n,), float64
    marks : mapping of str to int or None
        Numbers of clusters to circle and name.
    """
    width, height = _CURVE
    across = np.log(np.array(n_clusters, np.float64))
    xs = _MARGIN + (across - across[0]) / max(across[-1] - across[0], 1e-9) * (width - 2 * _MARGIN)
    ys = height - _MARGIN - mse / max(float(mse.max()), 1e-300) * (height - 2 * _MARGIN)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    shown = [f'<polyline points="{path}" fill="none" stroke="currentColor"></polyline>']
    for k, error, x, y in zip(n_clusters, mse, xs, ys, strict=True):
        told = f"{k:,} clusters: mean squared error {error:.3g}"
        shown.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{told}</title></circle>')
        if names := [name for name, at in marks.items() if at == k]:
            shown.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="currentColor"></circle>'
            )
            anchor, aside = ("start", 9) if x < width / 2 else ("end", -9)
            at_mark = f'x="{x + aside:.1f}" y="{y - 9:.1f}" text-anchor="{anchor}"'
            shown.append(f"<text {at_mark}>{', '.join(names)}: {k:,}</text>")
    for k, x, anchor in ((n_clusters[0], xs[0], "start"), (n_clusters[-1], xs[-1], "end")):
        shown.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{k:,}</text>')
    caption = "mean squared error against the number of clusters"
    svg = (
        f'<svg role="img" aria-label="{caption}" width="{width}" height="{height}" fill="currentColor" '
        f'font-size="11" font-family="sans-serif">{"".join(shown)}</svg>'
    )
    return caption, svg


def thumbnails(
    names: Iterable[str], sizes: NDArray[Any], read: Callable[[int], NDArray[Any]]
) -> Iterator[tuple[str, NDArray[np.uint8] | None]]:
    """Images, small; as they are read whole, only the first of them where they are large.

    Parameters
    ----------
    names : iterable of str
        Of the first images.
    sizes : (n, 2) integer array
        Height and width of the images in pixels.
    read : callable
        One image by its position: shape (height, width, 1 | 3 | 4), uint8 or uint16.
    """
    total = np.cumsum(sizes.astype(np.int64).prod(axis=1))
    for position, (name, size) in enumerate(zip(names, sizes, strict=True)):
        if total[position] > _READ_PIXELS:
            yield f"from {name} on: too many pixels to be read for this", None
            return
        yield f"{name} {_size(size)}", _fitted(_eight_bits(read(position)))


def _fitted(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An image made smaller by the mean of blocks of pixels, or larger by repeating them."""
    longest = max(pixels.shape[:2])
    if longest <= _SIDE:
        zoom = max(1, _SIDE // longest)
        return pixels.repeat(zoom, axis=0).repeat(zoom, axis=1)
    block = tuple(min(side, -(-longest // _SIDE)) for side in pixels.shape[:2])
    from skimage.transform import downscale_local_mean  # here, as it takes a while to load

    whole = pixels[: pixels.shape[0] // block[0] * block[0], : pixels.shape[1] // block[1] * block[1]]
    small: NDArray[np.float64] = downscale_local_mean(whole, (*block, 1))
    return np.rint(small).astype(np.uint8)


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Values of an unsigned type as those of uint8."""
    largest = np.iinfo(values.dtype).max
    return np.clip(np.rint(values * (255 / largest)), 0, 255).astype(np.uint8)


def gallery(
    centers: NDArray[np.float32], counts: NDArray[np.int64], space: FeatureSpace
) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The centers of a codebook with the most rows as tiles in one picture, the most frequent first.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features), float32
    counts : ndarray of shape (n_clusters,), int64
    space : FeatureSpace
        Of the codebook.
    """
    height, width = space.patch or (1, 1)
    n_shown = max(1, min(_N_TILES, _GALLERY_PIXELS // (height * width)))
    order = np.argsort(-counts, kind="stable")[:n_shown]
    tiles = _eight_bits(space.to_pixels(centers[order])).reshape(len(order), height, width, space.channels)
    caption = f"{len(order)} of {len(centers):,}, the most frequent first"
    yield caption, _tiled(tiles, max(1, _TILE_SIDE // max(height, width)))


def _tiled(tiles: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
    """Tiles in rows, enlarged, with transparent gaps: one RGBA picture."""
    n, channels = len(tiles), tiles.shape[3]
    colors = np.repeat(tiles, 3, axis=3) if channels == 1 else tiles[..., :3]
    alpha = tiles[..., 3:] if channels == 4 else np.full_like(tiles[..., :1], 255)
    large = np.concatenate([colors, alpha], axis=3).repeat(zoom, axis=1).repeat(zoom, axis=2)
    columns = max(1, min(n, _GALLERY_WIDTH // (large.shape[2] + _GAP)))
    rows = -(-n // columns)
    padded = np.pad(large, ((0, rows * columns - n), (0, _GAP), (0, _GAP), (0, 0)))
    _, height, width, _ = padded.shape
    laid = padded.reshape(rows, columns, height, width, 4).swapaxes(1, 2)
    return np.ascontiguousarray(laid.reshape(rows * height, columns * width, 4))

"""Dithering: an image in the colors of a palette, whose mean over a few pixels is that of the image.

Every color is the exact nearest one of what is asked for, in premultiplied values; see
`dkmeans.kernels.cells`. Pixels that nobody sees take the color that is nearest to none, and opaque ones only
opaque colors, where the palette has any. A pixel whose color is in the palette asks for just that color, and
leaves no error, so an image that the palette holds all colors of loses nothing.

No error is longer than half of the widest gap between neighbors in the palette: where colors mix, errors stay
below. Longer ones pile up where no mixture reaches the color of the image; without the limit they end as
single pixels of far colors, or as a smear behind the place.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.blue_noise import SIDE, blue_noise
from dkmeans.kernels.cells import TOP, Cells, clamp, make_cells, nearest, premultiplied
from dkmeans.kernels.jit import inlined, without_refcounts

__all__ = ["diffuse", "ordered"]

_SHARES = 256
"""Parts of an error that `strength` counts."""
_BITS = 12
"""An error is passed on in units of 2^-12: sixteenths of `_SHARES`."""
_LEVEL_BITS = 6
"""Colors that are mixed for one color by ordered dithering, in powers of 2, for a palette of one color."""
_KEPT = 1 << 18
"""Mixtures that are kept, at most, for later pixels of the same color."""
_LAYOUT: Final = ("C_CONTIGUOUS", "WRITEABLE")
"""One for all images, as each other one would be compiled for."""
_GOLDEN = 0x9E3779B1
"""Odd, and about 2^32 times the golden ratio: products with it are spread well."""


class _Palette(NamedTuple):
    """Where opaque pixels, and those that are not, find their color, and the one of clear pixels."""

    opaque: Cells
    mixed: Cells
    clear: int


def diffuse(image: NDArray[np.uint8], palette: NDArray[np.uint8], strength: float = 1.0) -> NDArray[np.uint8]:
    """Dither by error diffusion, with the weights of Floyd and Steinberg, every second row backwards.

    An opaque pixel takes no error of one that is not: it could not make up for the alpha in it.

    Parameters
    ----------
    image : ndarray of shape (height, width, channels), uint8
        Gray, gray with alpha, RGB or RGBA; 1 to 4 channels.
    palette : ndarray of shape (n_colors, channels), uint8
        At most 256 colors.
    strength : float
        The part of an error that is passed on, from 0 to 1, in steps of 1/256; at 0 each pixel takes the
        nearest color.

    Returns
    -------
    ndarray of shape (height, width), uint8
        Rows of `palette`; of equally near ones the first.

    Raises
    ------
    ValueError
        For other shapes or types, or another strength.
    """
    shares = _checked(image, palette, strength)
    image, codes = np.require(image, requirements=_LAYOUT), np.empty(image.shape[:2], np.uint8)
    errors = np.zeros((2, image.shape[1] + 2, 4), np.int32)
    _diffuse(image, _palette(palette), shares, errors, codes)
    return codes


def ordered(
    image: NDArray[np.uint8],
    palette: NDArray[np.uint8],
    strength: float = 1.0,
    row: int = 0,
    column: int = 0,
) -> NDArray[np.uint8]:
    """Dither by a mask of blue noise: what a pixel takes depends on its color and place alone.

    For each color colors of the palette are found whose mean it is, by diffusing the error within the pixel
    (T. Knoll's pattern dithering); from dark to light, the mask picks one of them.

    Parameters
    ----------
    image, palette, strength
        As in `diffuse`.
    row, column : int
        Place of the first pixel in the image that this one is cut from.

    Returns
    -------
    ndarray of shape (height, width), uint8
        Rows of `palette`.

    Raises
    ------
    ValueError
        For other shapes or types, or another strength.
    """
    shares = _checked(image, palette, strength)
    image, codes = np.require(image, requirements=_LAYOUT), np.empty(image.shape[:2], np.uint8)
    # The more colors, the nearer to each other: by the cube root of their number. A mixture of near colors
    # may be a coarse one.
    levels = 1 << int(_LEVEL_BITS - math.log2(len(palette)) / 3)
    picks = np.roll(blue_noise(), (-row, -column), axis=(0, 1)) * levels // SIDE**2
    ranks = np.argsort(np.argsort(_lightness(palette), kind="stable"), kind="stable")
    kept = np.zeros(min(_KEPT, 1 << codes.size.bit_length()), np.int64)
    mixtures = np.empty((len(kept), levels), np.uint8)
    _ordered(image, _palette(palette), shares, picks, ranks, kept, mixtures, codes)
    return codes


def _checked(image: NDArray[np.uint8], palette: NDArray[np.uint8], strength: float) -> int:
    """Check what is given; the strength in shares."""
    if image.ndim != 3 or image.shape[2] not in (1, 2, 3, 4) or image.dtype != np.uint8:
        raise ValueError(f"image {image.dtype} {image.shape}; expected uint8 (height, width, 1 | 2 | 3 | 4)")
    channels = image.shape[2]
    if palette.ndim != 2 or palette.shape[1] != channels or palette.dtype != np.uint8:
        raise ValueError(f"palette {palette.dtype} {palette.shape}; expected uint8 (n_colors, {channels})")
    if not 1 <= len(palette) <= 256:
        raise ValueError(f"palette of {len(palette)} colors; expected 1 to 256")
    if not 0 <= strength <= 1:
        raise ValueError(f"strength {strength}; expected 0 to 1")
    return round(_SHARES * strength)


def _palette(palette: NDArray[np.uint8]) -> _Palette:
    """Make the tables of a palette."""
    k, channels = palette.shape
    alpha = palette[:, -1:].astype(np.int64) if channels % 2 == 0 else np.full((k, 1), 255, np.int64)
    colors = np.zeros((k, 4), np.int64)
    colors[:, : (channels + 1) // 2 * 2 - 1] = palette[:, : (channels + 1) // 2 * 2 - 1] * alpha
    colors[:, 3:] = 255 * alpha
    everything = np.arange(k, dtype=np.uint8)
    members = everything[colors[:, 3] == TOP]
    opaque = make_cells(colors, members, opaque=True) if len(members) else None
    mixed = make_cells(colors, everything, opaque=False) if opaque is None or channels % 2 == 0 else opaque
    return _Palette(opaque or mixed, mixed, int(np.argmin((colors**2).sum(axis=1))))


def _lightness(palette: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What the eye sees of each color before a gray of half the light: luma by ITU-R 601, times 255000."""
    colors = palette.astype(np.int64)
    alpha = colors[:, -1] if colors.shape[1] % 2 == 0 else np.full(len(colors), 255)
    light = colors[:, :3] @ (299, 587, 114) if colors.shape[1] >= 3 else 1000 * colors[:, 0]
    seen: NDArray[np.int64] = light * alpha + 128_000 * (255 - alpha)
    return seen


@inlined
def _takes(image: Any, row: Any, column: Any, whole: Any) -> Any:
    """Whether a pixel takes the error of another, which is opaque or not."""
    inside = row < image.shape[0] and column >= 0 and column < image.shape[1]
    return whole or (inside and image[row, column, image.shape[2] - 1] < 255)


@inlined
def _add(errors: Any, line: Any, place: Any, share: Any, red: Any, green: Any, blue: Any, alpha: Any) -> None:
    errors[line, place, 0] += share * red
    errors[line, place, 1] += share * green
    errors[line, place, 2] += share * blue
    errors[line, place, 3] += share * alpha


@inlined
def _got(errors: Any, line: Any, place: Any, channel: Any) -> Any:
    """The errors that a pixel has got, in whole numbers."""
    return (errors[line, place, channel] + (1 << _BITS - 1)) >> _BITS


@without_refcounts
def _take(cells: Cells, red: Any, green: Any, blue: Any, alpha: Any) -> Any:
    """The code of what is asked for, and the error that it leaves, cut to half of the widest gap."""
    top = clamp(alpha, TOP)
    code = nearest(cells, clamp(red, top), clamp(green, top), clamp(blue, top), top)
    red, green = red - cells.colors[code, 0], green - cells.colors[code, 1]
    blue, alpha = blue - cells.colors[code, 2], alpha - cells.colors[code, 3]
    squares, limit = red * red + green * green + blue * blue + alpha * alpha, cells.gap // 2
    if squares > limit * limit:
        length = np.int64(math.sqrt(squares))
        red, green = red * limit // length, green * limit // length
        blue, alpha = blue * limit // length, alpha * limit // length
    return code, red, green, blue, alpha


@without_refcounts
def _diffuse(image: Any, palette: _Palette, shares: int, errors: Any, codes: Any) -> None:
    """Fill `codes`; `errors` are those of this row and the next, with a place more at each end."""
    height, width = codes.shape
    for row in range(height):
        here, below, step = row % 2, 1 - row % 2, 1 - 2 * (row % 2)
        for place in range(width + 2):
            for channel in range(4):
                errors[below, place, channel] = 0
        column = 0 if step == 1 else width - 1
        for _ in range(width):
            place = column + 1
            red, green, blue, alpha = premultiplied(image, row, column)
            if alpha == 0:
                codes[row, column] = palette.clear
                column += step
                continue
            whole = alpha == TOP
            code, red, green, blue, alpha = _take(
                palette.opaque if whole else palette.mixed,
                red + _got(errors, here, place, 0),
                green + _got(errors, here, place, 1),
                blue + _got(errors, here, place, 2),
                alpha + _got(errors, here, place, 3),
            )
            codes[row, column] = code
            if _takes(image, row, column + step, whole):
                _add(errors, here, place + step, 7 * shares, red, green, blue, alpha)
            if _takes(image, row + 1, column - step, whole):
                _add(errors, below, place - step, 3 * shares, red, green, blue, alpha)
            if _takes(image, row + 1, column, whole):
                _add(errors, below, place, 5 * shares, red, green, blue, alpha)
            if _takes(image, row + 1, column + step, whole):
                _add(errors, below, place + step, shares, red, green, blue, alpha)
            column += step


@without_refcounts
def _mix(cells: Cells, color: Any, shares: int, ranks: Any, mixtures: Any, place: Any) -> None:
    """Find the colors whose mean is about a color, in the order of their ranks."""
    red = green = blue = alpha = np.int64(0)
    for level in range(mixtures.shape[1]):
        code, red, green, blue, alpha = _take(
            cells, color[0] + red, color[1] + green, color[2] + blue, color[3] + alpha
        )
        red, green = red * shares // _SHARES, green * shares // _SHARES
        blue, alpha = blue * shares // _SHARES, alpha * shares // _SHARES
        at = level
        while at > 0 and ranks[mixtures[place, at - 1]] > ranks[code]:
            mixtures[place, at] = mixtures[place, at - 1]
            at -= 1
        mixtures[place, at] = code


@inlined
def _number(image: Any, row: Any, column: Any) -> Any:
    """A color as a number that is not 0."""
    number = np.int64(1)
    for channel in range(image.shape[2]):
        number = number << 8 | np.int64(image[row, column, channel])
    return number


@without_refcounts
def _ordered(
    image: Any, palette: _Palette, shares: int, picks: Any, ranks: Any, kept: Any, mixtures: Any, codes: Any
) -> None:
    """Fill `codes`; `kept` are the numbers of the colors that `mixtures` are of."""
    height, width = codes.shape
    for row in range(height):
        for column in range(width):
            color = premultiplied(image, row, column)
            if color[3] == 0:
                codes[row, column] = palette.clear
                continue
            number = _number(image, row, column)
            place = (number * _GOLDEN >> 16) & kept.size - 1
            if kept[place] != number:
                cells = palette.opaque if color[3] == TOP else palette.mixed
                _mix(cells, color, shares, ranks, mixtures, place)
                kept[place] = number
            codes[row, column] = mixtures[place, picks[row % SIDE, column % SIDE]]

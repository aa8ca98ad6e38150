"""Arrays of pixels to PNG files: lossless, and the same bytes every time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.images.effort import effort_for, smallest
from dkmeans.images.png import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, Form
from dkmeans.images.reindexing import bands, by_luma, by_neighbors, reindexed
from dkmeans.images.scanlines import pack_bits
from dkmeans.images.tags import NO_TAGS, ColorTags

__all__ = ["DEFAULT_EFFORT", "compact", "encode_indexed_png", "encode_png"]

DEFAULT_EFFORT = 4
"""Of the efforts from 0 to 9, see `dkmeans.images.effort`."""
_SMALL = 1 << 14
"""Bytes of pixels up to which a form with a number for each channel is tried beside a palette."""
_CHANNEL_FORMS = {1: GRAY, 2: GRAY_ALPHA, 3: RGB, 4: RGBA}


def encode_png(pixels: NDArray[Any], tags: ColorTags = NO_TAGS, effort: int = DEFAULT_EFFORT) -> bytes:
    """Encode pixels as a PNG file with as many channels, lossless.

    Parameters
    ----------
    pixels : (height, width, 1 | 2 | 3 | 4) uint8 or uint16 array
        Gray, gray with alpha, RGB or RGBA.
    tags : ColorTags
        What the colors mean. Gray is written as RGB where its ICC profile is one for RGB, as the standard has
        it; and RGB as gray where it is the other way round and all pixels are gray. Where some are not, the
        profile is left out.
    effort : int
        How hard to try for a small file, see `dkmeans.images.effort`.

    Returns
    -------
    bytes
        The file; it holds no time and no name, so equal pixels give equal bytes.

    Raises
    ------
    ValueError
        For another shape or type.
    UsageError
        If the optimizer that this effort takes is not installed.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _CHANNEL_FORMS or 0 in pixels.shape:
        raise ValueError(f"pixels of shape {pixels.shape}; expected (height, width, 1 | 2 | 3 | 4)")
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise ValueError(f"pixels of type {pixels.dtype}; expected uint8 or uint16")
    if tags.space == "rgb" and pixels.shape[2] < 3:
        pixels = _as_rgb(pixels)
    elif tags.space == "gray" and pixels.shape[2] > 2:
        if _is_gray(pixels):
            pixels = pixels[..., 2:]
        else:
            tags = _without_profile(tags)
    return smallest([_channel_form(pixels, tags)], effort_for(effort, pixels.shape[0] * pixels.shape[1]))


def encode_indexed_png(
    codes: NDArray[Any],
    palette: NDArray[Any],
    tags: ColorTags = NO_TAGS,
    effort: int = DEFAULT_EFFORT,
) -> bytes:
    """Encode codes and their colors as the smallest PNG file that gives these pixels.

    Decoding gives ``palette[codes]`` exactly. Which numbers the colors have is not kept: those that occur are
    stored once, in an order that compresses well, in the fewest bits that hold them (1, 2, 4 or 8), the ones
    with alpha first, so that tRNS is as long as they are many. Gray is written as gray where that is smaller,
    and tiny images of many colors without a palette.

    Parameters
    ----------
    codes : (height, width) integer array
        Rows of `palette`.
    palette : (k, 1 | 2 | 3 | 4) uint8 array
        k colors, at most 256: gray, gray with alpha, RGB or RGBA.
    tags : ColorTags
        What the colors mean. An ICC profile for gray or for RGB decides which of them is written; one for
        gray is left out where colors are not gray.
    effort : int
        How hard to try for a small file, see `dkmeans.images.effort`.

    Returns
    -------
    bytes
        The same ones for the same pixels and arguments.

    Raises
    ------
    ValueError
        For another shape or type, or a code that is no row of the palette.
    UsageError
        If the optimizer that this effort takes is not installed.
    """
    _check_indexed(codes, palette)
    row = effort_for(effort, codes.size)
    few, colors = compact(codes, palette)
    rgba = _as_rgba(colors)
    if tags.space == "gray" and not _is_gray(rgba):
        tags = _without_profile(tags)
    forms: list[Form] = []
    if tags.space != "rgb" and _is_gray(rgba):
        forms += _gray_forms(few, rgba, tags)
    if tags.space != "gray":
        forms += [_palette_form(few, rgba, order, tags) for order in row.orders]
        channels = 4 if _has_alpha(rgba) else 3
        if codes.size * channels <= _SMALL:
            forms.append(_channel_form(rgba[few][..., :channels], tags))
    return smallest(forms, row)


def _check_indexed(codes: NDArray[Any], palette: NDArray[Any]) -> None:
    """Refuse what is no image of at most 256 colors.

    Raises
    ------
    ValueError
    """
    if palette.ndim != 2 or palette.shape[1] not in _CHANNEL_FORMS or palette.dtype != np.uint8:
        raise ValueError(f"palette {palette.dtype} {palette.shape}; expected uint8 (k, 1 | 2 | 3 | 4)")
    if not 1 <= len(palette) <= 256:
        raise ValueError(f"palette of {len(palette)} colors; expected 1 to 256")
    if codes.ndim != 2 or 0 in codes.shape or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes {codes.dtype} {codes.shape}; expected integers (height, width)")
    if codes.min() < 0 or codes.max() >= len(palette):
        raise ValueError(f"codes {codes.min()} to {codes.max()}; expected 0 to {len(palette) - 1}")


def _channel_form(pixels: NDArray[Any], tags: ColorTags) -> Form:
    """Write a number for each channel of each pixel."""
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    return Form(_CHANNEL_FORMS[channels], 8 * pixels.itemsize, width, rows, tags.chunks)


def _palette_form(codes: NDArray[np.uint8], rgba: NDArray[np.uint8], order: str, tags: ColorTags) -> Form:
    """Write codes and a palette, whose colors come from dark to light."""
    places = by_neighbors(codes, len(rgba)) if order == "neighbors" else np.arange(len(rgba))
    opaque = rgba[places, 3] == 255
    codes, rgba = reindexed(codes, rgba, np.concatenate([places[~opaque], places[opaque]]))
    chunks = (*tags.chunks, (b"PLTE", rgba[:, :3].tobytes()))
    if not opaque.all():
        chunks += ((b"tRNS", rgba[rgba[:, 3] < 255, 3].tobytes()),)
    bits = next(bits for bits in (1, 2, 4, 8) if 1 << bits >= len(rgba))
    return Form(PALETTE, bits, codes.shape[1], pack_bits(codes, bits), chunks)


def _gray_forms(codes: NDArray[np.uint8], rgba: NDArray[np.uint8], tags: ColorTags) -> list[Form]:
    """Write levels of gray in the fewest bits; alpha as one level that is clear, or as a second number."""
    levels, alpha = rgba[:, 0], rgba[:, 3]
    clear = alpha < 255
    chunks = tags.chunks
    bits = next(bits for bits in (1, 2, 4, 8) if not (levels % (255 // (2**bits - 1))).any())
    levels = levels // (255 // (2**bits - 1))
    if clear.any():
        key = levels[clear][0]
        if clear.sum() > 1 or alpha[clear].any() or (levels[~clear] == key).any():
            return [_channel_form(rgba[codes][..., 2:], tags)]
        chunks += ((b"tRNS", bytes([0, key])),)
    return [Form(GRAY, bits, codes.shape[1], pack_bits(levels[codes], bits), chunks)]


def _as_rgb(pixels: NDArray[Any]) -> NDArray[Any]:
    """Gray as equal red, green and blue; alpha stays the last channel."""
    return np.concatenate([np.repeat(pixels[..., :1], 3, axis=-1), pixels[..., 1:]], axis=-1)


def _as_rgba(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colors of any number of channels as RGBA."""
    rgb = _as_rgb(colors) if colors.shape[1] < 3 else colors
    full = np.full((len(rgb), 1), 255, np.uint8)
    return np.concatenate([rgb, full], axis=1) if rgb.shape[1] == 3 else rgb


def _is_gray(colors: NDArray[Any]) -> bool:
    return bool((colors[..., :2] == colors[..., 1:3]).all())


def _has_alpha(rgba: NDArray[np.uint8]) -> bool:
    return bool((rgba[:, 3] < 255).any())


def _without_profile(tags: ColorTags) -> ColorTags:
    return ColorTags(tuple(chunk for chunk in tags.chunks if chunk[0] != b"iCCP"))


def compact(codes: NDArray[Any], palette: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Codes and a palette for the same pixels: the colors that occur, each once, from dark to light.

    Neighbors in an image are of similar colors, so the order makes their codes alike, and the file smaller:
    by up to 10 % for 16 colors.

    They are taken as by `encode_indexed_png`.

    Returns
    -------
    codes : (height, width) uint8 array
    palette : (n, 1 | 2 | 3 | 4) uint8 array
    """
    counts = sum(np.bincount(band.ravel(), minlength=len(palette)) for band in bands(codes))
    used = np.flatnonzero(counts)
    colors, inverse = np.unique(palette[used], axis=0, return_inverse=True)
    order = by_luma(colors)
    places = np.empty(len(order), np.uint8)
    places[order] = np.arange(len(order))
    table = np.zeros(len(palette), np.uint8)
    table[used] = places[inverse.ravel()]
    if codes.dtype == np.uint8 and np.array_equal(table[used], used):  # it is so already
        return codes, colors[order]
    return table[codes], colors[order]

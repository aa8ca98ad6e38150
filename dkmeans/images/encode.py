"""Arrays of pixels to PNG files: lossless, and the same bytes every time."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["encode_indexed_png", "encode_png"]


def encode_png(pixels: NDArray[Any]) -> bytes:
    """Encode pixels as a PNG file, lossless.

    Parameters
    ----------
    pixels : (height, width, 1 | 3 | 4) uint8 or uint16 array
        Gray, RGB or RGBA.

    Returns
    -------
    bytes
        The file; it holds no time and no name, so equal pixels give equal bytes.

    Raises
    ------
    ValueError
        For another shape or type.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(f"pixels of shape {pixels.shape}; expected (height, width, 1 | 3 | 4)")
    if pixels.dtype.kind != "u" or pixels.dtype.itemsize > 2:
        raise ValueError(f"pixels of type {pixels.dtype}; expected uint8 or uint16")
    native = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    return bytes(imagecodecs.png_encode(native))


def encode_indexed_png(codes: NDArray[Any], palette: NDArray[Any]) -> bytes:
    """Encode codes and their colors as an indexed PNG, in the fewest bits (1, 2, 4 or 8) that hold them.

    Decoding gives ``palette[codes]`` exactly. The palette keeps its order and length; a gray one is
    stored as equal red, green and blue, since PNG knows no other, and the alpha of RGBA as tRNS.

    Parameters
    ----------
    codes : (height, width) integer array
        Rows of `palette`.
    palette : (k, 1 | 3 | 4) uint8 array
        k colors, at most 256.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        For another shape or type, or a code that is no row of the palette.
    """
    if palette.ndim != 2 or palette.shape[1] not in (1, 3, 4) or palette.dtype != np.uint8:
        raise ValueError(f"palette {palette.dtype} {palette.shape}; expected uint8 (k, 1 | 3 | 4)")
    if not 1 <= len(palette) <= 256:
        raise ValueError(f"palette of {len(palette)} colors; expected 1 to 256")
    if codes.ndim != 2 or 0 in codes.shape or not np.issubdtype(codes.dtype, np.integer):
        raise ValueError(f"codes {codes.dtype} {codes.shape}; expected integers (height, width)")
    if codes.min() < 0 or codes.max() >= len(palette):
        raise ValueError(f"codes {codes.min()} to {codes.max()}; expected 0 to {len(palette) - 1}")
    image = Image.fromarray(np.ascontiguousarray(codes, dtype=np.uint8)).copy()
    colors = np.repeat(palette, 3, axis=1) if palette.shape[1] == 1 else palette[:, :3]
    image.putpalette(colors.tobytes())  # turns the gray image into an indexed one, same numbers
    options: dict[str, Any] = {"transparency": palette[:, 3].tobytes()} if palette.shape[1] == 4 else {}
    file = io.BytesIO()
    image.save(file, format="PNG", **options)
    return file.getvalue()

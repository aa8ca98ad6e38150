"""What a file says of its numbers: ICC profile, gamma, primaries, density, as the chunks of a PNG hold it."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from dkmeans.errors import ImageError
from dkmeans.images.channels import convert_color
from dkmeans.images.formats.found import Found

__all__ = ["NO_TAGS", "ColorTags", "tags_of", "to_srgb"]

_ORDER = (b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"pHYs")
_PROFILE_LIMIT = 2**24  # bytes; profiles of printers have some millions


@dataclass(frozen=True)
class ColorTags:
    """Chunks of a PNG that tell what its pixels mean: (name, body) of iCCP, cICP, sRGB, gAMA, cHRM, pHYs.

    They stand in the order in which they are written, before PLTE and IDAT.
    """

    chunks: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def space(self) -> Literal["gray", "rgb"] | None:
        """What the ICC profile is for; None without one."""
        body = dict(self.chunks).get(b"iCCP")
        if body is None:
            return None
        return "gray" if _inflated(body, 20)[16:20] == b"GRAY" else "rgb"

    def to_json(self) -> str:
        """Give the chunks as a JSON object in their order, each body in base64."""
        return json.dumps({name.decode(): base64.b64encode(body).decode() for name, body in self.chunks})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` gave."""
        found = json.loads(text).items()
        return cls(tuple((name.encode(), base64.b64decode(body)) for name, body in found))


NO_TAGS = ColorTags()


def tags_of(found: Found) -> ColorTags:
    """What an image file of any format, whose header was read, says of its numbers.

    Parameters
    ----------
    found : Found
        Of the file, or of as much of its beginning as `read_header` takes: that holds all they are read from.

    Returns
    -------
    ColorTags
        Mostly one object for equal ones. Without what is damaged, and without a profile of other colors than
        those that `decode` gives, such as that of CMYK inks. Where the image is turned by its EXIF
        orientation, so is its density.
    """
    try:
        chunks = dict(found.tags())
    except MemoryError:
        raise
    except Exception:  # no fault of the pixels
        return NO_TAGS
    if b"pHYs" in chunks and found.orientation >= 5 and len(chunks[b"pHYs"]) == 9:
        body = chunks[b"pHYs"]
        chunks[b"pHYs"] = body[4:8] + body[:4] + body[8:]
    kept = ((name, chunks[name]) for name in _ORDER if name in chunks)
    return _one(tuple((name, body) for name, body in kept if _VALID[name](body, found.channels)))


@lru_cache(maxsize=16)
def _one(chunks: tuple[tuple[bytes, bytes], ...]) -> ColorTags:
    """One object for equal chunks: the profile of a camera is in each of its images, and kept once."""
    return ColorTags(chunks)


def _inflated(body: bytes, limit: int = _PROFILE_LIMIT) -> bytes:
    """The first `limit` bytes of the profile in an iCCP; all if they are fewer."""
    name, _, rest = body.partition(b"\0")
    if not 1 <= len(name) <= 79 or rest[:1] != b"\0":
        raise ValueError("no name and method")
    return zlib.decompressobj().decompress(rest[1:], limit)


def _valid_profile(body: bytes, channels: int) -> bool:
    """Whether littleCMS can read the profile and it is for gray, or for RGB, of which gray is a part."""
    try:
        icc = _inflated(body)
        space = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space.strip()
    except (ValueError, zlib.error, OSError):
        return False
    return space == "RGB" or (space == "GRAY" and channels <= 2)


_VALID: dict[bytes, Callable[[bytes, int], bool]] = {
    b"iCCP": _valid_profile,
    b"cICP": lambda body, _: len(body) == 4 and body[2] == 0,
    b"sRGB": lambda body, _: len(body) == 1 and body[0] < 4,
    b"gAMA": lambda body, _: len(body) == 4 and 0 < int.from_bytes(body) < 2**31,
    b"cHRM": lambda body, _: len(body) == 32 and all(0 < y < 2**31 for y in struct.unpack(">8I", body)[1::2]),
    b"pHYs": lambda body, _: len(body) == 9 and body[8] < 2 and all(struct.unpack(">II", body[:8])),
}


# By the numbers of ITU-T H.273: x and y of white, red, green, blue; exponents of transfer functions.
_PRIMARIES = {
    1: (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_SRGB_TRANSFER = 13


def to_srgb(pixels: NDArray[Any], tags: ColorTags) -> NDArray[Any]:
    """Convert pixels to sRGB by littleCMS: relative colorimetric, with black point compensation.

    The first that is there of cICP, iCCP, sRGB and gAMA with cHRM is what they are converted from, as the
    standard of PNG orders them; without any they are taken for sRGB. Alpha stays as it is, gray stays gray.

    Parameters
    ----------
    pixels : (height, width, 1 | 2 | 3 | 4) uint8 or uint16 array
        Gray, gray+alpha, RGB or RGBA.
    tags : ColorTags
        Those of `pixels`.

    Returns
    -------
    array of the same shape and type

    Raises
    ------
    ImageError
        If the colors are told in a way that cannot be converted, such as those of HDR.
    """
    profile = _profile(tags)
    if profile is None:
        return pixels
    icc, is_gray = profile
    rgb = convert_color(pixels, "rgb")
    # Sampled tables, into which littleCMS would turn a profile, are good enough for 8 bits only.
    flags = _FLAGS.BLACKPOINTCOMPENSATION | (0 if pixels.dtype == np.uint8 else _FLAGS.NOOPTIMIZE)
    try:
        converted = imagecodecs.cms_transform(
            np.ascontiguousarray(rgb[..., :1] if is_gray else rgb),
            icc,
            _srgb(),
            colorspace="gray" if is_gray else "rgb",
            outcolorspace="rgb",
            intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
            flags=flags,
        )
    except imagecodecs.CmsError as error:
        raise ImageError(
            f"its ICC profile cannot be applied ({error}); expected one from which sRGB follows. "
            "Keep the profile as it is, or convert the image."
        ) from error
    values = converted.reshape(*pixels.shape[:2], 3)
    if pixels.shape[2] <= 2:
        values = values[..., 1:2]
    if pixels.shape[2] in (2, 4):
        values = np.concatenate([values, pixels[..., -1:]], axis=2)
    return np.ascontiguousarray(values)


_FLAGS = imagecodecs.CMS.FLAGS


def _srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def _profile(tags: ColorTags) -> tuple[bytes, bool] | None:
    """The ICC profile to convert from and whether it is for gray; None if the pixels are sRGB."""
    chunks = dict(tags.chunks)
    if b"cICP" in chunks:
        return _coded(*chunks[b"cICP"][:2])
    if b"iCCP" in chunks:
        return _inflated(chunks[b"iCCP"]), tags.space == "gray"
    if b"sRGB" in chunks or b"gAMA" not in chunks:
        return None
    points = (
        tuple(value / 100000 for value in struct.unpack(">8I", chunks[b"cHRM"]))
        if b"cHRM" in chunks
        else _PRIMARIES[1]
    )
    return _made(points, gamma=100000 / int.from_bytes(chunks[b"gAMA"])), False


def _coded(primaries: int, transfer: int) -> tuple[bytes, bool] | None:
    if (primaries, transfer) == (1, _SRGB_TRANSFER):
        return None
    if primaries not in _PRIMARIES or transfer not in (*_GAMMAS, _SRGB_TRANSFER):
        one_of = [", ".join(map(str, codes)) for codes in (_PRIMARIES, [*_GAMMAS, _SRGB_TRANSFER])]
        raise ImageError(
            f"colors of the primaries {primaries} and the transfer {transfer} of H.273 (cICP); expected "
            f"primaries {one_of[0]} and a transfer of {one_of[1]}. "
            "Keep them as they are, or convert the image."
        )
    return _made(_PRIMARIES[primaries], gamma=_GAMMAS.get(transfer)), False


def _made(points: tuple[float, ...], gamma: float | None) -> bytes:
    """An ICC profile of these primaries, and of sRGB's curve if no exponent is given."""
    white, colors = points[:2], points[2:]
    curve = None
    if gamma is None:
        levels = np.linspace(0, 1, 4096)
        linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
        curve = np.rint(linear * 65535).astype(np.uint16)
    made: bytes = imagecodecs.cms_profile(
        "rgb",
        whitepoint=(*white, 1.0),
        primaries=[v for i in range(0, 6, 2) for v in (*colors[i : i + 2], 1.0)],
        gamma=gamma,
        transferfunction=curve,
    )
    return made

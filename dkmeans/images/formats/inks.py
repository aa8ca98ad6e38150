"""Inks and Lab to RGB: by littleCMS where it is known what the numbers mean, else as Pillow converts."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

__all__ = ["ink_profile", "inks_to_rgb", "lab_to_rgb", "note_on_inks"]


def ink_profile(icc: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """The profile of CMYK inks in the bytes of an ICC profile; None if they hold no such."""
    with suppress(OSError, ImageCms.PyCMSError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc or b""))
        if profile.profile.xcolor_space.strip() == "CMYK":
            return profile
    return None


def note_on_inks(icc: bytes | None) -> str:
    """What to say aloud of an image of CMYK inks."""
    by = (
        "by its ICC profile"
        if ink_profile(icc)
        else "without an ICC profile of inks, so its colors are a guess"
    )
    return f"CMYK, converted to sRGB {by}"


def inks_to_rgb(image: Image.Image, icc: bytes | None) -> NDArray[np.uint8]:
    """The (height, width, 3) sRGB pixels of an image of the mode CMYK."""
    profile = ink_profile(icc)
    if profile is None:
        return np.asarray(image.convert("RGB"))
    return _to_srgb(image, profile)


def lab_to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The (height, width, 3) sRGB pixels of an image of the mode LAB, whose white is that of D50."""
    return _to_srgb(image, ImageCms.createProfile("LAB"))


def _to_srgb(image: Image.Image, profile: Any) -> NDArray[np.uint8]:
    transform = ImageCms.buildTransform(
        profile,
        ImageCms.createProfile("sRGB"),
        image.mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        # Optimized for 8 bits, white comes out as 254.
        ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
    )
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only in place there is nothing to give
    return np.asarray(converted)

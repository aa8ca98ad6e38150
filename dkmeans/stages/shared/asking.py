"""Colors that quantize is asked for: which options contradict, palettes for them, what was not reached."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.codebook import open_codebook
from dkmeans.config.stages import QuantizeConfig
from dkmeans.errors import InputError, MismatchError, UsageError
from dkmeans.events.reporter import Reporter
from dkmeans.images.decode import COLORS, convert_color
from dkmeans.images.palettes import PNG_COLORS, checked, colors_of, parse_palette
from dkmeans.stages.shared.palettes import Mapped, Palettes, PerImage
from dkmeans.stages.shared.searching import Reaching, Within, reaches
from dkmeans.storage.store import open_store

__all__ = ["check_asked", "given_colors", "palettes_for", "recorded_with", "tell_unmet"]

_AIMS = ("quality", "min_psnr", "min_ssim")
"""Options that are met by more colors."""


def check_asked(config: QuantizeConfig) -> None:
    """Refuse options for colors that contradict each other.

    Raises
    ------
    UsageError
        Naming both, and which to leave out.
    """
    has_k = "n_clusters" in config.model_fields_set
    aims = [name for name in _AIMS if getattr(config, name) is not None]
    per_image = [*aims, *(name for name in ("max_bytes", "keep") if getattr(config, name) is not None)]
    if config.quality is not None and config.min_psnr is not None:
        raise UsageError("found both --quality and --min-psnr, which mean the same. Leave out one of them.")
    if aims and (has_k or config.max_bytes is not None):
        other = "--k" if has_k else "--max-bytes"
        raise UsageError(
            f"found both {other} and {_flag(aims[0])}, which finds the number of colors of each image. Leave "
            "out one of them."
        )
    if per_image and config.to == "archive":
        raise UsageError(
            f"{_flag(per_image[0])} is for a palette for each image, found --to archive, which has one for "
            "all. Leave out one of them."
        )
    if per_image and config.palette != "per-image":
        raise UsageError(
            f"{_flag(per_image[0])} is for palettes that are learned for each image, found --palette "
            f"{config.palette}. Leave out one of them."
        )
    if config.palette not in ("per-image", "shared"):
        _check_given(config, has_k)
    if config.keep and len(config.keep) > config.n_clusters:
        raise UsageError(
            f"found {len(config.keep)} colors to keep and a palette of {config.n_clusters}. Pass --k "
            f"{len(config.keep)} or more, or keep fewer."
        )


def _check_given(config: QuantizeConfig, has_k: bool) -> None:
    if config.to == "archive":
        raise UsageError(
            f"found --palette {config.palette} and --to archive, whose colors are learned. Leave out one of "
            "them."
        )
    if has_k:
        raise UsageError(
            f"found both --k and --palette {config.palette}, all of whose colors are taken. Leave out one of "
            "them, or pass a palette of fewer colors."
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def given_colors(config: QuantizeConfig) -> NDArray[np.uint8] | None:
    """Read the colors that --palette gives; shape (n_colors, 3 | 4), or None if palettes are learned.

    Raises
    ------
    InputError
        If there is neither a file nor a codebook, or it is none that can be used.
    """
    if config.palette in ("per-image", "shared"):
        return None
    store = open_store(config.palette)
    folder, _, name = store.url.rpartition("/")
    data = None if folder.endswith(":/") else open_store(folder or "/").get_or_none(name)
    if data is not None:
        return parse_palette(data, name)
    if not store.list("claim"):
        raise InputError(
            f"--palette: found no file and no codebook at {store.url}; expected per-image, shared, or the "
            "path or URL of given colors. Check it."
        )
    return _of_codebook(store.url)


def _of_codebook(url: str) -> NDArray[np.uint8]:
    codebook = open_codebook(url)
    space = codebook.manifest.space
    if space.patch is not None or space.dtype != np.uint8:
        raise MismatchError(
            f"the codebook {url} was fit on {space.describe()}; expected pixels of uint8. Pass one of these."
        )
    colors = space.to_pixels(codebook.centers)[np.newaxis]
    return checked(convert_color(colors, "rgb" if space.channels == 1 else COLORS[space.channels])[0], url)


def recorded_with(config: QuantizeConfig, colors: NDArray[np.uint8] | None) -> QuantizeConfig:
    """The options as they are recorded: with what a given palette held, as its file may change."""
    if colors is None:
        return config
    digest = hashlib.sha256(repr(colors.shape).encode() + colors.tobytes()).hexdigest()
    return config.model_copy(update={"palette": f"{config.palette} (SHA-256 of the colors {digest})"})


def palettes_for(config: QuantizeConfig, given: NDArray[np.uint8] | None) -> Palettes:
    """Choose how each image gets its palette, by what is asked for; `given` is of `given_colors`."""
    if given is not None:
        return Mapped(given, config.space)
    keep = None if config.keep is None else colors_of(config.keep)
    learning = PerImage(config.n_clusters, config.seed, **config.pace, space=config.space, keep=keep)
    if config.max_bytes is not None:
        return Within(learning, config.max_bytes)
    min_psnr = config.min_psnr if config.quality is None else _psnr_of(config.quality)
    if min_psnr is None and config.min_ssim is None:
        return learning
    return Reaching(learning, min_psnr, config.min_ssim)


def _psnr_of(quality: int) -> float:
    """Give the PSNR, in dB, of a quality from 30 to 100; infinite at 100.

    The mean squared error is (100 - quality) / 2: a line through what pngquant leaves of photos, without
    dithering, when it is asked for that number.
    """
    return 10 * math.log10(255**2 * 2 / (100 - quality)) if quality < 100 else math.inf


def tell_unmet(
    palettes: Palettes,
    names: tuple[str, ...],
    columns: dict[str, NDArray[np.float64]],
    channels: int,
    reporter: Reporter,
) -> None:
    """Say how many images are not as asked for.

    Parameters
    ----------
    palettes : Palettes
    names : tuple of str
        Of the images.
    columns : dict of str to ndarray of shape (n_images,)
        What was measured of each.
    channels : int
        Of the images as they are read.
    reporter : Reporter
    """
    if isinstance(palettes, Mapped) and channels in (2, 4) and palettes.lacks_clear:
        told = (
            "images with clear pixels have one color more, so that these stay clear"
            if palettes.has_room
            else f"there is no room beside its {PNG_COLORS}: clear pixels become visible"
        )
        reporter.warn(f"the palette that is given has no clear color, {told}")
    if isinstance(palettes, Within):
        large = np.flatnonzero(columns["stored_bytes"] > palettes.max_bytes).tolist()
        if large:
            reporter.warn(
                f"{len(large)} of {len(names)} images take more than {palettes.max_bytes} bytes even with "
                f"the fewest colors: {names[large[0]]} ({int(columns['stored_bytes'][large[0]])} bytes)"
            )
    if isinstance(palettes, Reaching):
        found = zip(_finite(columns["psnr"]), _finite(columns["ssim"]), strict=True)
        met = [reaches(*each, palettes.min_psnr, palettes.min_ssim) for each in found]
        if not all(met):
            reporter.warn(
                f"{met.count(False)} of {len(names)} images do not reach what is asked for with "
                f"{palettes.n_clusters} colors, the most of an indexed PNG: {names[met.index(False)]}"
            )


def _finite(values: NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]

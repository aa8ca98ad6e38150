"""Palettes of the fewest colors that are good enough, or of the most colors whose file is small enough."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from dkmeans.stages.shared.canvas import Canvas, Painted
from dkmeans.stages.shared.palettes import PerImage

__all__ = ["Reaching", "Within", "first_number", "reaches"]

_GUESS = 48
"""Colors that are tried first."""
_DECIBELS = 2.6
"""PSNR that twice the colors add to a photo, about: only a guess of what to try next."""
_LESS_UNLIKE = 0.6
"""How often 1 - SSIM is halved by twice the colors, about."""
_LARGER = 0.35
"""How often a file is doubled by twice the colors, about."""
_TRIES = 6
"""Numbers that are guessed; then the range is halved, in case that the guesses are bad."""


def first_number(score: Callable[[int], float], least: int, most: int, guess: int) -> int:
    """Find the first number whose score is not negative, if scores rise with the numbers.

    Where they do not quite, as of palettes of nearly as many colors, the score of the number that is found is
    not negative, and that of the number before it is: both were computed.

    Parameters
    ----------
    score : callable
        Of a number n about log2(n / first); may be infinite. It is called with each number at most once.
    least, most : int
        The range, both ends in it; 1 <= least <= most.
    guess : int
        The number that is tried first.

    Returns
    -------
    int
        `least` to `most`, or `most` + 1 if all scores are negative.
    """
    known: dict[int, float] = {}
    below, above = least - 1, most + 1
    while above - below > 1:
        number = min(max(guess, below + 1), above - 1)
        known[number] = score(number)
        below, above = (below, number) if known[number] >= 0 else (number, above)
        guess = _expected(known, below, above) if len(known) < _TRIES else (below + above) // 2
    return above


def _expected(known: dict[int, float], below: int, above: int) -> int:
    """Guess the first number from the scores around it: they are about a line over the logarithm."""
    low, high = known.get(below, math.inf), known.get(above, math.inf)
    if math.isfinite(low) and math.isfinite(high):
        return math.ceil(below * math.pow(above / below, low / (low - high)))
    if math.isfinite(low):
        return math.ceil(below * 2 ** min(-low, 8))
    if math.isfinite(high):
        return math.ceil(above * 2 ** max(-high, -8))
    return round(math.sqrt(max(below, 1) * above))


def reaches(psnr: float | None, ssim: float | None, min_psnr: float | None, min_ssim: float | None) -> bool:
    """Tell whether an image is as good as asked for.

    Parameters
    ----------
    psnr : float or None
        In dB; None where nothing is lost, which is always good enough.
    ssim : float or None
        None for an image too small for it, which has to lose nothing if SSIM is asked for.
    min_psnr, min_ssim : float or None
        What is asked for; None if it is not.
    """
    if psnr is None:
        return True
    similar = min_ssim is None or (ssim is not None and ssim >= min_ssim)
    return similar and (min_psnr is None or psnr >= min_psnr)


@dataclass(frozen=True)
class Reaching:
    """A palette for each image, of the fewest colors that reach what is asked for.

    The image that is given back reaches it, and with one color fewer it was tried and does not. That a
    palette of even fewer does is not ruled out, as of palettes of nearly as many colors one is better by
    chance. Where none reaches it, the largest is taken.

    Attributes
    ----------
    learning : PerImage
        How palettes are learned; of at most its number of colors.
    min_psnr : float or None
        In dB; infinite where nothing may be lost.
    min_ssim : float or None
    """

    learning: PerImage
    min_psnr: float | None = None
    min_ssim: float | None = None

    @property
    def n_clusters(self) -> int:
        """The most colors of a palette."""
        return self.learning.n_clusters

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted; see `Palettes`."""
        return self.learning.channels(channels)

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image; see `Palettes`."""
        before, reached = _search(canvas, self.learning, self._score, _GUESS)
        painted = reached or before
        assert painted is not None
        return painted

    def _score(self, painted: Painted) -> float:
        psnr = painted.psnr()
        if psnr is None:
            return math.inf
        ssim = None if self.min_ssim is None else painted.ssim()
        scores = []
        if self.min_psnr is not None:
            scores.append((psnr - self.min_psnr) / _DECIBELS)
        if self.min_ssim is not None:
            similar = ssim is not None and max(ssim, self.min_ssim) < 1
            gain = math.log2((1 - self.min_ssim) / (1 - ssim)) if similar and ssim is not None else -math.inf
            scores.append(gain / _LESS_UNLIKE)
        guessed = min(scores)  # whose sign rounding may have changed
        return max(guessed, 0.0) if reaches(psnr, ssim, self.min_psnr, self.min_ssim) else min(guessed, -1e-9)


@dataclass(frozen=True)
class Within:
    """A palette for each image, of the most colors whose file is small enough.

    The file that is given back is small enough, and with one color more it was tried and is not, or that is
    more than may be. Where none is small enough, the one of the fewest colors is taken.

    Attributes
    ----------
    learning : PerImage
        How palettes are learned; of at most its number of colors.
    max_bytes : int
        Of the file.
    """

    learning: PerImage
    max_bytes: int

    @property
    def n_clusters(self) -> int:
        """The most colors of a palette."""
        return self.learning.n_clusters

    def channels(self, channels: int) -> int:
        """Count the channels of what is painted; see `Palettes`."""
        return self.learning.channels(channels)

    def paint(self, canvas: Canvas) -> Painted:
        """Paint an image; see `Palettes`."""

        def excess(painted: Painted) -> float:
            return math.log2(len(painted.file) / (self.max_bytes + 1)) / _LARGER

        fits, larger = _search(canvas, self.learning, excess, self.learning.n_clusters)
        painted = fits or larger
        assert painted is not None
        return painted


def _search(
    canvas: Canvas, learning: PerImage, score: Callable[[Painted], float], guess: int
) -> tuple[Painted | None, Painted | None]:
    """Find the first number of colors whose score is not negative, if scores rise with the colors.

    Returns
    -------
    before, found : Painted or None
        With one color fewer, and with so many; None where that is outside the range.
    """
    canvas = learning.prepared(canvas)
    ends: dict[bool, Painted] = {}

    def tried(n_colors: int) -> float:
        painted = replace(learning, n_clusters=n_colors).paint(canvas)
        found = score(painted)
        ends[found >= 0] = painted  # each is nearer to the border than the one before
        return found

    first_number(tried, *learning.range_of(canvas), guess)
    return ends.get(False), ends.get(True)

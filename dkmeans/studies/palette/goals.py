"""How good photos are to look, and the fewest colors that make them so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dkmeans.images.palettes import PNG_COLORS
from dkmeans.stages.quantize import QuantizeReport
from dkmeans.stages.shared.quantized import QuantizedImage
from dkmeans.stages.shared.searching import reaches

__all__ = ["GOALS", "Goal", "measured_facts", "searched_facts"]


@dataclass(frozen=True)
class Goal:
    """A quality that photos are to reach.

    Attributes
    ----------
    words : str
        For people.
    min_psnr : float or None
        In dB.
    min_ssim : float or None
    """

    words: str
    min_psnr: float | None = None
    min_ssim: float | None = None

    @property
    def option(self) -> str:
        """The option of `dkmeans quantize` that asks for it."""
        return (
            f"--min-psnr {self.min_psnr:g}" if self.min_psnr is not None else f"--min-ssim {self.min_ssim:g}"
        )

    @property
    def folder(self) -> str:
        """The name of the folder of images that reach it."""
        return self.option.removeprefix("--min-").replace(" ", "-")

    def is_reached(self, image: QuantizedImage) -> bool:
        """Tell whether an image is as good."""
        return reaches(image.psnr, image.ssim, self.min_psnr, self.min_ssim)


GOALS = (
    Goal("30 dB", min_psnr=30),
    Goal("35 dB", min_psnr=35),
    Goal("40 dB", min_psnr=40),
    Goal("SSIM 0.95", min_ssim=0.95),
)


def searched_facts(reports: dict[Goal, QuantizeReport]) -> dict[str, Any]:
    """Give what a search has found for each goal: the fewest colors of each image that reach it.

    Parameters
    ----------
    reports : dict of Goal to QuantizeReport
        Of images that have as few colors as reach the goal, or as many as a PNG holds and do not reach it.
    """
    found = [_facts(goal, report.images, report.stored_bytes) for goal, report in reports.items()]
    return {"searched": True, "max_colors": PNG_COLORS, "goals": found}


def measured_facts(reports: dict[int, QuantizeReport]) -> dict[str, Any]:
    """Give the smallest of the measured numbers of colors that reach each goal; fewer may do.

    Parameters
    ----------
    reports : dict of int to QuantizeReport
        By the number of colors, ascending.
    """
    found = []
    for goal in GOALS:
        whole = next((each for each in reports.values() if all(map(goal.is_reached, each.images))), None)
        last = reports[max(reports)] if whole is None else whole
        facts = _facts(goal, last.images, last.stored_bytes)
        for position, image in enumerate(facts["images"]):
            reached = (k for k, each in reports.items() if goal.is_reached(each.images[position]))
            image["n_colors"] = next(reached, None)
        found.append(facts | _range(facts["images"]))
    return {"searched": False, "max_colors": max(reports), "goals": found}


def _facts(goal: Goal, images: Sequence[QuantizedImage], stored_bytes: int) -> dict[str, Any]:
    """Facts of one goal; of an image that does not reach it the number of colors is None."""
    found: list[dict[str, Any]] = [
        {
            "n_colors": image.n_colors if goal.is_reached(image) else None,
            "psnr": image.psnr,
            "ssim": image.ssim,
            "stored_bytes": image.stored_bytes,
        }
        for image in images
    ]
    return {
        "words": goal.words,
        "option": goal.option,
        "min_psnr": goal.min_psnr,
        "min_ssim": goal.min_ssim,
        "stored_bytes": stored_bytes,
        "images": found,
        **_range(found),
    }


def _range(images: list[dict[str, Any]]) -> dict[str, Any]:
    """The fewest colors of the easiest image, those that are enough for every one, and who reaches it."""
    reached = [image["n_colors"] for image in images if image["n_colors"] is not None]
    return {
        "n_reached": len(reached),
        "least_colors": min(reached, default=None),
        "n_colors": max(reached) if len(reached) == len(images) else None,
    }

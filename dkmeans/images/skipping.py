"""Images that cannot be used: each is named aloud, kept in a list, and counted against what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from dkmeans.errors import SkippedError
from dkmeans.events.reporter import Reporter
from dkmeans.events.words import counted
from dkmeans.images.decode import SkippedImage
from dkmeans.storage.access import count

__all__ = ["NAMED", "Skipping"]

NAMED = 20
"""Images that are named one by one; of more their number is told."""


class Skipping:
    """Images that cannot be used: each is named aloud, kept in a list, and counted.

    Parameters
    ----------
    max_skipped : int or str
        So many may be left out: a number, a share of the images that were found (``5%``), or ``all``.
    reporter : Reporter
    keep : callable
        ``keep(skipped)`` stores the list, before there are too many.
    place : str
        URL of that list, for the message; empty where none is stored.
    again : str
        The option by which the same command takes images that have been mended, for the message.
    on : str
        The option by which it goes on without them.

    Attributes
    ----------
    n_found : int
        Images that were found, of which a share is; `dkmeans.images.collecting.collect` sets it.
    images : list of SkippedImage
        Those that are left out.
    """

    def __init__(
        self,
        max_skipped: int | str,
        reporter: Reporter,
        keep: Callable[[Sequence[SkippedImage]], None],
        place: str,
        again: str = "--overwrite",
        on: str = "--resume",
    ) -> None:
        self.max_skipped = max_skipped
        self.reporter = reporter
        self.keep = keep
        self.place = place
        self.again = again
        self.on = on
        self.n_found = 0
        self.images: list[SkippedImage] = []

    @property
    def allowed(self) -> float:
        """How many may be left out; infinite for all."""
        if self.max_skipped == "all":
            return math.inf
        if isinstance(self.max_skipped, str):
            return self.n_found * float(self.max_skipped.removesuffix("%")) / 100
        return self.max_skipped

    def add(self, images: Sequence[SkippedImage]) -> None:
        """Leave out some more.

        Raises
        ------
        SkippedError
            If these are too many.
        """
        count(images_skipped=len(images))
        for image in images:
            self.reporter.event("skipped", image=image.key, reason=image.reason)
        for image in images[:NAMED]:
            self.reporter.warn(f"skipped {image.key}: {image.reason}")
        if len(images) > NAMED:
            where = f", listed in {self.place}" if self.place else ""
            self.reporter.warn(f"skipped {len(images) - NAMED} more{where}")
        self.images += images
        n_skipped = len(self.images)
        if n_skipped > self.allowed:
            self.keep(self.images)
            of_all = f"{n_skipped:,} of {self.n_found:,} images"
            what = of_all if isinstance(self.max_skipped, str) else counted(n_skipped, "images")
            listed = f"; those found until then are listed in {self.place}" if self.place else ""
            raise SkippedError(
                f"{what} cannot be used, --max-skipped allows {self.max_skipped}; the "
                f"first: {self.first}. The work stopped there{listed}. Fix or remove them and pass "
                f"{self.again}, or continue with {self.on} --max-skipped {n_skipped}, with more, or with all."
            )

    def watch(self) -> Callable[[Iterable[object]], None]:
        """Give what sees the images of a run as they come, in any order, the same ones more than once.

        It ends the run by `SkippedError` as soon as too many cannot be used; what they are is told then. Of
        a run that ends well they are not added.
        """
        seen: dict[str, SkippedImage] = {}

        def look(found: Iterable[object]) -> None:
            seen.update((image.key, image) for image in found if isinstance(image, SkippedImage))
            if len(self.images) + len(seen) > self.allowed:
                self.add(list(seen.values()))

        return look

    @property
    def first(self) -> str:
        """Name and reason of the first image that is left out."""
        return f"{self.images[0].key} ({self.images[0].reason})" if self.images else "none"

"""A kind of artefact of the tests' own: two arrays, a group, and hardly a fact."""

from __future__ import annotations

from typing import ClassVar, Literal

from dkmeans.artefacts.manifests import Manifest
from dkmeans.config.stages import FitConfig

__all__ = ["Small", "config"]


class Small(Manifest):
    """The manifest of the kind."""

    kind: Literal["small"] = "small"
    names: ClassVar[tuple[str, ...]] = ("centers", "pixels", "rows", "images", "images2")

    n_iter: int | None = None
    inertia: float | None = None


def config(**options):
    """Options of a stage, for what a claim and a manifest keep of them."""
    return FitConfig(**{"dataset": "data", "codebook": "book", "k": 3, **options})

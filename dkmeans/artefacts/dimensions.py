"""What the axes of the arrays of artefacts are called, in their metadata: so xarray opens each group."""

from __future__ import annotations

__all__ = ["DIMENSIONS"]

_OF_IMAGE = dict.fromkeys(("images/name", "images/height", "images/width", "images/tags_at"), ("image",))
_OF_FILE = dict.fromkeys(("files/name", "files/version"), ("file",))
_OF_SKIPPED = dict.fromkeys(("skipped/name", "skipped/reason"), ("skipped",))
_CURVES = ("n_clusters", "inertia", "mse", "n_iter", "converged", "seconds")

DIMENSIONS: dict[str, tuple[str, ...]] = {
    "pixels": ("pixel", "channel"),
    "patches": ("patch", "feature"),
    "patch_offset": ("patch_offset",),
    "digests": ("chunk", "byte"),
    "centers": ("cluster", "feature"),
    "counts": ("cluster",),
    "history": ("iteration", "quantity"),
    "codes": ("code",),
    "palette": ("cluster", "channel"),
    "code_offset": ("code_offset",),
    "mask": ("mask_byte",),
    **_OF_IMAGE,
    "images/offset": ("offset",),
    "images/tags": ("tags",),
    "images/measures": ("image", "measure"),
    **_OF_FILE,
    **_OF_SKIPPED,
    **{f"curves/{name}": ("n_clusters",) for name in _CURVES},
    "seeds/chosen": ("cluster", "feature"),
    "seeds/sample": ("distinct_row", "feature"),
    "seeds/times": ("distinct_row",),
}
"""By the name of the array below its artefact. In a group a name stands for one size."""

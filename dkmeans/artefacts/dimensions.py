"""What the axes of the arrays of artefacts are called, in their metadata: so xarray opens each group."""

from __future__ import annotations

__all__ = ["dimensions_of"]

_OF_ARRAYS: dict[str, tuple[str, ...]] = {
    "pixels": ("pixel", "channel"),
    "patches": ("patch", "feature"),
    "patch_offset": ("patch_offset",),
    "digests": ("chunk", "byte"),
    "centers": ("cluster", "feature"),
    "counts": ("cluster",),
    "history": ("iteration", "quantity"),
    "codes": ("code",),
    "code_digests": ("shard", "byte"),
    "sources": ("chunk", "byte"),
    "palette": ("cluster", "channel"),
    "code_offset": ("code_offset",),
    "mask": ("mask_byte",),
    "images/offset": ("offset",),
    "images/tags": ("tags",),
    "images/measures": ("image", "measure"),
    "seeds/chosen": ("cluster", "feature"),
    "seeds/sample": ("distinct_row", "feature"),
    "seeds/times": ("distinct_row",),
}
_OF_GROUPS = {"images": ("image",), "files": ("file",), "skipped": ("skipped",), "curves": ("n_clusters",)}
"""Of all other arrays of a group."""


def dimensions_of(name: str) -> tuple[str, ...] | None:
    """Name the axes of an array, given by its name below the artefact; one name stands for one size."""
    return _OF_ARRAYS.get(name) or _OF_GROUPS.get(name.partition("/")[0])

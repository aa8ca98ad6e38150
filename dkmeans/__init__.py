"""Exact k-means codebooks for collections of images.

The stages `ingest`, `fit`, `sweep`, `cut`, `compress`, `reconstruct`, `quantize` and `decode`, and the
studies `dictionary`, `palette` and `faces`, take a config, read from storage and write to it; `open_dataset`,
`open_codebook`, `open_sweep`, `open_coded` and `open_folder` read what they wrote. Names load when they are
first used, so that ``import dkmeans`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name.startswith("_") and name != "__all__":  # what Python itself asks for needs no registry
        raise AttributeError(f"module 'dkmeans' has no attribute {name!r}")
    from dkmeans.command.registry import public_places

    places = public_places()
    if name == "__all__":
        return sorted(places)
    if name not in places:
        raise AttributeError(f"module 'dkmeans' has no attribute {name!r}")
    return getattr(importlib.import_module(places[name]), name)


def __dir__() -> list[str]:
    from dkmeans.command.registry import public_places

    return sorted([*public_places(), "__version__"])

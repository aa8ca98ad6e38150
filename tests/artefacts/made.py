"""One output of each stage, and the kind of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import dkmeans

__all__ = ["KIND_OF", "make_each"]

KIND_OF = {
    "dataset": "dataset", "palette": "codebook", "patches": "codebook", "cut": "codebook", "sweep": "sweep",
    "compressed": "coded", "reconstructed": "coded", "archive": "coded", "tiles": "coded",
    "folder": "folder", "decoded": "folder", "beside": "folder",
}  # fmt: skip


def make_each(place: Path) -> dict[str, str]:
    """Make all of them, of three small images; their URLs by name."""
    sync = dkmeans.ClusterConfig(scheduler="sync")
    np.save(place / "stack.npy", np.random.default_rng(0).integers(0, 256, (3, 9, 11, 3), dtype=np.uint8))
    url = {name: str(place / name) for name in (*KIND_OF, "stack.npy")}
    source, dataset = {"source": url["stack.npy"]}, {"dataset": url["dataset"]}
    dkmeans.ingest(dkmeans.IngestConfig(**source, **dataset, patch=3, stride=2), sync)
    palette, patches = {"codebook": url["palette"]}, {"codebook": url["patches"]}
    dkmeans.fit(dkmeans.FitConfig(**dataset, **palette, k=4), sync)
    dkmeans.fit(dkmeans.FitConfig(**dataset, **patches, k=4, on="patches", max_iter=2), sync)
    dkmeans.cut(dkmeans.CutConfig(**patches, cut=url["cut"], k=3), sync)
    dkmeans.sweep(dkmeans.SweepConfig(**dataset, sweep=url["sweep"], k="2,3"), sync)
    compressed = {"result": url["compressed"], "images": url["beside"]}
    dkmeans.compress(dkmeans.CompressConfig(**dataset, **palette, **compressed), sync)
    dkmeans.reconstruct(dkmeans.ReconstructConfig(**dataset, **patches, result=url["reconstructed"]), sync)
    for name, options in {
        "folder": {},
        "archive": {"to": "archive"},
        "tiles": {"to": "archive", "patch": 3},
    }.items():
        dkmeans.quantize(dkmeans.QuantizeConfig(**source, destination=url[name], k=4, **options), sync)
    dkmeans.decode(dkmeans.DecodeConfig(archive=url["tiles"], images=url["decoded"]), sync)
    return url

"""Images to one archive of codes: the codebook, the codes of all images, and how near these come."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts import claims, manifests
from dkmeans.artefacts.archive import Archive, row_offset
from dkmeans.artefacts.claims import Claim
from dkmeans.artefacts.codebook import centers_sha256
from dkmeans.artefacts.dataset import read_index, write_index, write_skipped
from dkmeans.clustering.labels import code_dtype
from dkmeans.clustering.lloyd import LloydResult
from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config import ClusterConfig, QuantizeConfig
from dkmeans.events.reporter import Reporter
from dkmeans.images.sources import Source
from dkmeans.stages.quantizing.codes import MEASURES, measure_images, write_codes
from dkmeans.stages.quantizing.gathering import Found, Gathering
from dkmeans.stages.quantizing.images import QuantizedImage, Written, image_memory
from dkmeans.stages.shared.shards import read_table
from dkmeans.storage import arrays
from dkmeans.storage.store import open_store

__all__ = ["write_archive"]

_PIXELS_PER_TASK = 1 << 20
_SHARD_MIB = 64.0
"""MiB of the rows whose codes are one object."""


def write_archive(
    config: QuantizeConfig,
    source: Source,
    learn: Callable[[Gathering, Found], tuple[Found, LloydResult]],
    cluster: ClusterConfig | Executor,
    reporter: Reporter,
) -> Written:
    """Claim an archive, write its arrays, compare its images with the originals, and commit it.

    Parameters
    ----------
    config : QuantizeConfig
    source : Source
    learn : callable
        Gives the centers, and the images without those that cannot be decoded.
    cluster : ClusterConfig or Executor
    reporter : Reporter
    """
    store = open_store(config.destination)
    with (
        claims.claim(store, "archive", config, source.fingerprint, [source.url]) as claim,
        connect(cluster, reporter, "quantize") as workers,
    ):
        if not claim.finished:
            gathering = Gathering(config, workers, reporter)
            found, result = learn(gathering, gathering.find(source))
            if not result.converged:
                reporter.warn(f"not converged after {config.max_iter} iterations; --max-iter allows more")
            _Archiving(config, claim, workers, reporter, found, result.centers).write(result)
    return _written(Archive(store, manifests.read_manifest(store, "archive")))


@dataclass(frozen=True)
class _Archiving:
    """The parts of an archive; `write` reads from top to bottom."""

    config: QuantizeConfig
    claim: Claim
    cluster: Executor
    reporter: Reporter
    found: Found
    centers: NDArray[np.float32]

    def write(self, result: LloydResult) -> None:
        """Codebook, index, codes, measures, commit."""
        dtype, patch = np.dtype(self.found.dtype), self.config.patch
        if patch is None:
            self.claim.write_array("palette", np.rint(self.centers).astype(dtype))
        else:
            self.claim.write_array("centers", self.centers)
        write_skipped(self.claim, list(self.found.skipped))
        self._write_index()
        facts = {
            "n_images": len(self.found.index),
            "n_skipped": len(self.found.skipped),
            "n_codes": int(row_offset(self.found.index, patch)[-1]),
            "n_clusters": len(self.centers),
            "channels": self.centers.shape[1] // (patch[0] * patch[1] if patch else 1),
            "dtype": str(dtype),
            "inertia": result.inertia,
            "n_iter": len(result.history),
            "converged": result.converged,
            "centers_sha256": centers_sha256(self.centers),
            "measures_columns": list(MEASURES),
        }
        self._write_codes(facts["n_codes"])
        measures = self._measure({"config": self.config.recorded(), **facts})
        self.claim.write_array("images/measures", measures)
        self.claim.commit(facts)

    def _write_index(self) -> None:
        """The index; what an earlier run has written for other images goes."""
        if self.claim.has_group("images"):
            if read_index(self.claim.store).names == self.found.index.names:
                return
            self.claim.discard("codes")
        self.claim.discard("images")
        write_index(self.claim, self.found.index)

    def _write_codes(self, n_codes: int) -> None:
        """One object of codes after the other, a task each; those that are there are kept."""
        dtype, n_features = np.dtype(self.found.dtype), self.centers.shape[1]
        rows = plan.layout_rows(n_codes, n_features * dtype.itemsize, _SHARD_MIB).shard_rows
        self.cluster.check_memory(
            plan.label_memory(min(rows, n_codes), n_features, dtype.itemsize),
            "a block of codes",
            "use a smaller --patch",
        )
        layout = {"shape": (n_codes,), "dtype": code_dtype(len(self.centers)), "chunks": (rows,)}
        self.claim.create_array("codes", **layout, small=True)
        finished = arrays.finished_shards(self.claim.store, "codes")
        offset = row_offset(self.found.index, self.config.patch)
        write, read = self.cluster.task(write_codes), self.cluster.task(read_table)
        tasks = []
        for shard, cut in enumerate(plan.cuts(n_codes, rows)):
            if shard in finished:
                tasks.append(read(self.claim.store, "codes", *cut))
                continue
            spans = plan.image_spans(offset, *cut)
            part = self.found.source.part(spans[0].index, spans[-1].index + 1)
            given = (self.config, self.centers, self.cluster.device)
            tasks.append(write(self.claim, part, spans, *cut, *given))
        with self.reporter.stage("codes", len(tasks), "blocks") as advance:
            self.claim.seal("codes", self.cluster.run(tasks, advance))

    def _measure(self, manifest: dict[str, Any]) -> NDArray[np.float64]:
        """Every image beside its original; shape (n_images, n_measures)."""
        need = image_memory(int(self.found.sizes.max()), 4 if self.config.color == "rgba" else 3)
        self.cluster.check_memory(need, "an image", "leave out the largest images")
        index, task = self.found.index, self.cluster.task(measure_images)
        offset = row_offset(index, self.config.patch)
        sizes = np.stack([index.height, index.width], axis=1)
        archive, source = Archive(self.claim.store, manifest), self.found.source
        tasks = [
            task(
                archive,
                source.part(*cut),
                offset[cut[0] : cut[1] + 1],
                sizes[slice(*cut)],
                self.config,
                self.centers,
            )
            for cut in plan.batches(self.found.sizes, _PIXELS_PER_TASK)
        ]
        with self.reporter.stage("images", len(tasks), "batches") as advance:
            return np.concatenate(self.cluster.run(tasks, advance))


def _written(archive: Archive) -> Written:
    """What is reported of a complete archive."""
    facts, index = archive.manifest, archive.index
    table = arrays.read_rows(archive.store, "images/measures").tolist()
    images = []
    for name, height, width, row in zip(
        index.names, index.height.tolist(), index.width.tolist(), table, strict=True
    ):
        measures = dict(zip(facts["measures_columns"], row, strict=True))
        images.append(
            QuantizedImage(
                name=name,
                key=name,
                height=height,
                width=width,
                source_bytes=int(measures["source_bytes"]),
                stored_bytes=None,
                bits_per_pixel=None,
                psnr=None if math.isnan(measures["psnr"]) else measures["psnr"],
                ssim=None if math.isnan(measures["ssim"]) else measures["ssim"],
                mse=measures["mse"],
                n_source_colors=int(measures["n_source_colors"]),
                n_colors=int(measures["n_colors"]),
                inertia=measures["inertia"],
                n_iter=0,
                converged=True,
                seconds=None,
            )
        )
    stored = archive.store.list()
    return Written(
        url=archive.url,
        images=tuple(images),
        n_skipped=int(facts["n_skipped"]),
        stored_bytes=sum(found.size for found in stored if not found.key.startswith("claim/")),
        inertia=float(facts["inertia"]),
        n_iter=int(facts["n_iter"]),
        converged=bool(facts["converged"]),
        centers_sha256=str(facts["centers_sha256"]),
    )

"""The study of faces: gray levels, typical images, and a large codebook cut down to small ones.

For images of one size. All that it shows comes from artefacts below one URL, which it makes first.
"""

from __future__ import annotations

from typing import Any

from dkmeans.compute.connecting import connect
from dkmeans.compute.executor import Executor
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import CompressConfig, CutConfig, FitConfig, IngestConfig, LearningConfig
from dkmeans.config.studies import FacesConfig
from dkmeans.errors import InputError, UsageError
from dkmeans.events.reporter import SILENT, Reporter
from dkmeans.images.decode import ImageHeader
from dkmeans.images.sources import estimate_pixels, open_source
from dkmeans.kernels.exact import MAX_FEATURES
from dkmeans.report.study import StudyReport, write_study
from dkmeans.stages.compress import compress
from dkmeans.stages.cut import cut
from dkmeans.stages.fit import fit
from dkmeans.stages.ingest import ingest
from dkmeans.storage.store import open_store
from dkmeans.studies.embedded import write_faces
from dkmeans.studies.faces.facts import open_made
from dkmeans.studies.faces.page import draw

__all__ = ["faces"]


def faces(
    config: FacesConfig,
    cluster: ClusterConfig | Executor = ClusterConfig(),
    reporter: Reporter = SILENT,
) -> StudyReport:
    """Study images of one size, and write a page about them with all that it is made from beside it.

    Their gray values in few levels by uniform, quantile and k-means bins, and what codes of few bits save; a
    gallery of whole-image centers; and that codebook cut down to smaller ones, beside direct fits.

    Parameters
    ----------
    config : FacesConfig
        URLs of the images and of the folder to write, and the options.
    cluster : ClusterConfig or Executor
        Where the tasks run: a cluster to start or to connect to, `InProcess` or `Distributed`.
    reporter : Reporter
        Told of progress; by default nobody is.

    Returns
    -------
    StudyReport
        Where the page lies, how many pictures it has, and its bytes.

    Raises
    ------
    InputError
        If the images are not all of one size, not of 8 bits, too large, or fewer than the gallery shows.
    UsageError
        If the codebook of the gallery is too small to be cut as asked for, or an output is there already.
    StorageError
        If storage refuses or fails.
    """
    _check_sizes(config)
    out = open_store(config.out).url
    source = config.source or f"{out}/images"
    if config.source is None:
        write_faces(source)
    size = _one_size(source, config.gallery)
    with connect(cluster, reporter, "faces", lambda: estimate_pixels(open_source(source))) as workers:
        _make(config, out, source, size, workers, reporter)
        made = open_made(config, out, workers)
    return write_study(out, draw(made))


def _check_sizes(config: FacesConfig) -> None:
    """Refuse to cut a codebook into what it does not hold."""
    rows, columns = config.gallery
    for name, found in (("k", max(config.n_clusters)), ("n_neighbors", config.n_neighbors)):
        if found >= rows * columns:
            raise UsageError(
                f"{name}: found {found}, a gallery of {rows}x{columns} has {rows * columns} centers; "
                f"expected fewer. Use a larger --gallery, or a smaller --{name.replace('_', '-')}."
            )


def _one_size(source: str, gallery: tuple[int, int]) -> tuple[int, int]:
    """Height and width of all images of a source, which are as many as the gallery shows or more."""
    found = open_source(source).headers(max_pixels=IngestConfig.model_fields["max_image_pixels"].default)
    headers = [header for header in found if isinstance(header, ImageHeader)]  # ingest refuses the others
    examples: dict[Any, ImageHeader] = {}
    for header in headers:
        examples.setdefault((header.height, header.width), header)
    if len(examples) > 1:
        one, other = list(examples.values())[:2]
        raise InputError(
            f"{source} holds images of {len(examples)} sizes: {one.key} has {one.height} x {one.width} "
            f"pixels, {other.key} {other.height} x {other.width}; expected one size. Crop or scale them."
        )
    if len(headers) < gallery[0] * gallery[1]:
        raise InputError(
            f"{source} holds {len(headers)} images that can be read, a gallery of {gallery[0]}x{gallery[1]} "
            f"centers needs {gallery[0] * gallery[1]}. Use a smaller --gallery."
        )
    first = headers[0]
    if any(header.dtype != "uint8" for header in headers):
        raise InputError(f"{source} holds images of 16 bits; expected 8 bits, 256 gray values. Convert them.")
    if first.height * first.width > MAX_FEATURES:
        raise InputError(
            f"the images of {source} have {first.height * first.width:,} pixels; as rows of a fit they may "
            f"have {MAX_FEATURES:,} at most. Scale them down."
        )
    return first.height, first.width


def _make(
    config: FacesConfig, out: str, source: str, size: tuple[int, int], cluster: Executor, reporter: Reporter
) -> None:
    """Run all stages; each keeps, or begins anew, what is there, as the study was told to."""
    again: dict[str, Any] = {"overwrite": config.overwrite, "resume": config.resume}
    learning: dict[str, Any] = {name: getattr(config, name) for name in LearningConfig.model_fields}
    dataset, levels, gallery = (f"{out}/{name}.zarr" for name in ("dataset", "levels", "gallery"))

    def learn(codebook: str, n_clusters: int, on: str) -> None:
        reporter.say(f"fit of {n_clusters} {'levels' if on == 'pixels' else 'images'}")
        where: dict[str, Any] = {"dataset": dataset, "codebook": codebook, "on": on}
        fit(FitConfig(n_clusters=n_clusters, **where, **learning), cluster, reporter)

    whole: dict[str, Any] = {"color": "gray", "patch": size, "blank_threshold": -1}  # a patch is an image
    ingest(IngestConfig(source=source, dataset=dataset, **whole, **again), cluster, reporter)
    learn(levels, config.levels, "pixels")
    codes: dict[str, Any] = {"result": f"{out}/levels-codes.zarr", "images": f"{out}/levels"}
    compress(CompressConfig(dataset=dataset, codebook=levels, **codes, **again), cluster, reporter)
    learn(gallery, config.gallery[0] * config.gallery[1], "patches")
    for k in config.n_clusters:
        for name, n_neighbors in ((f"cut-{k}", None), (f"cut-{k}-neighbors", config.n_neighbors)):
            where: dict[str, Any] = {"codebook": gallery, "cut": f"{out}/{name}.zarr", **again}
            cut(CutConfig(n_clusters=k, n_neighbors=n_neighbors, **where), cluster, reporter)
        learn(f"{out}/direct-{k}.zarr", k, "patches")

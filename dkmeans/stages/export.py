"""A codebook to one file in the format of another library; none of the formats holds a pickle."""

from __future__ import annotations

import importlib.util
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dkmeans.artefacts.codebook import Codebook, open_codebook
from dkmeans.artefacts.manifests import sealed
from dkmeans.config.stages import ExportConfig
from dkmeans.errors import UsageError
from dkmeans.estimators.kmeans import KMeans
from dkmeans.stages.shared.targets import is_folder, open_target, put_target, taken
from dkmeans.storage.store import Store

__all__ = ["ExportReport", "export"]


@dataclass(frozen=True)
class ExportReport:
    """The report of export: the file, what it was made of, and its size in bytes."""

    out: str
    codebook: str
    to: str
    n_clusters: int
    n_features: int
    file_bytes: int
    seconds: float


def export(config: ExportConfig) -> ExportReport:
    """Write a codebook to one file of numpy, scikit-learn or faiss.

    The file is there whole or not at all, and no other is replaced unless that is asked for.

    Parameters
    ----------
    config : ExportConfig
        URLs of the codebook and of the file, and which library is to read it.

    Returns
    -------
    ExportReport
        What was written, its bytes, and seconds.

    Raises
    ------
    InputError
        If the codebook is missing, unfinished or damaged, or is something else.
    UsageError
        If the library is not installed, the output is a folder or lies in the codebook, or a file is there
        already.
    StorageError
        If storage refuses or fails.
    """
    began = time.perf_counter()
    _check_installed(config.to)
    if is_folder(config.out):
        raise UsageError(f"out: {config.out} is a folder; expected the URL of a file. Add a name.")
    place, name = open_target(config.out, "out")
    if place.exists(name) and not config.overwrite:
        raise taken(place, name, "out")
    codebook = open_codebook(config.codebook)
    _check_outside(place, codebook)
    data = _FORMATS[config.to](codebook)
    put_target(place, name, data, "out", overwrite=config.overwrite)
    return ExportReport(
        out=place.url_of(name),
        codebook=codebook.url,
        to=config.to,
        n_clusters=codebook.n_clusters,
        n_features=codebook.manifest.n_features,
        file_bytes=len(data),
        seconds=time.perf_counter() - began,
    )


def _check_installed(to: str) -> None:
    module, package = _NEEDED.get(to, ("numpy", "numpy"))
    if importlib.util.find_spec(module) is None:
        raise UsageError(
            f"--to {to} needs {package}, which is not installed. Run pip install 'dkmeans[export]', or pass "
            "--to npz."
        )


def _check_outside(place: Store, codebook: Codebook) -> None:
    if f"{place.url}/".startswith(f"{codebook.url}/"):
        raise UsageError(f"out: a file in the codebook {codebook.url} would damage it. Choose another place.")


def _npz(codebook: Codebook) -> bytes:
    """All arrays, each column of the history by its name, and the manifest as JSON text."""
    columns = zip(codebook.manifest.history_columns, codebook.history.T, strict=True)
    manifest = sealed(codebook.manifest.model_dump(mode="json"))
    file = io.BytesIO()
    np.savez(
        file,
        allow_pickle=False,
        centers=codebook.centers,
        counts=codebook.counts,
        manifest=np.array(json.dumps(manifest, sort_keys=True)),
        **{f"history_{name}": values for name, values in columns},
    )
    return file.getvalue()


def _sklearn(codebook: Codebook) -> bytes:
    """A fitted ``sklearn.cluster.KMeans``: of float64, which scikit-learn makes of integer rows."""
    import skops.io

    return bytes(skops.io.dumps(KMeans.from_codebook(codebook).to_sklearn()))


def _faiss(codebook: Codebook) -> bytes:
    """An ``IndexFlatL2`` of the centers, as ``faiss.write_index`` writes it."""
    import faiss

    index = faiss.IndexFlatL2(codebook.manifest.n_features)
    index.add(codebook.centers)
    return bytes(faiss.serialize_index(index).tobytes())


_FORMATS: dict[str, Callable[[Codebook], bytes]] = {"npz": _npz, "sklearn": _sklearn, "faiss": _faiss}
_NEEDED = {"sklearn": ("skops", "skops"), "faiss": ("faiss", "faiss-cpu")}
"""The module, and its package, that a format needs beside what dkmeans always has."""

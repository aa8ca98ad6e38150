"""Exact k-means codebooks for collections of images.

The stages `ingest`, `fit`, `sweep`, `cut`, `compress`, `reconstruct`, `quantize` and `decode`, and the
studies `dictionary`, `palette` and `faces`, take a config, read from storage and write to it; `open_dataset`,
`open_codebook`, `open_sweep`, `open_coded` and `open_folder` read what they wrote. Names load when they are
first used, so that ``import dkmeans`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dkmeans.artefacts.codebook import Codebook, open_codebook
    from dkmeans.artefacts.coded import CodedImages, open_coded
    from dkmeans.artefacts.dataset import Dataset, open_dataset
    from dkmeans.artefacts.folder import ImageFolder, open_folder
    from dkmeans.artefacts.sweep import Sweep, open_sweep
    from dkmeans.clustering.estimator import KMeans
    from dkmeans.config import (
        ClusterConfig,
        CompressConfig,
        CutConfig,
        DecodeConfig,
        DictionaryConfig,
        FacesConfig,
        FitConfig,
        IngestConfig,
        JobConfig,
        PaletteConfig,
        QuantizeConfig,
        ReconstructConfig,
        ReportConfig,
        SweepConfig,
        load_job,
    )
    from dkmeans.errors import DkmeansError
    from dkmeans.report.page import write_report
    from dkmeans.stages.compress import compress
    from dkmeans.stages.cut import cut
    from dkmeans.stages.decode import decode
    from dkmeans.stages.fit import fit
    from dkmeans.stages.ingest import ingest
    from dkmeans.stages.quantize import quantize
    from dkmeans.stages.reconstruct import reconstruct
    from dkmeans.stages.sweep import sweep
    from dkmeans.storage.access import storage_options
    from dkmeans.studies.dictionary.study import dictionary
    from dkmeans.studies.faces.study import faces
    from dkmeans.studies.palette.study import palette

__version__ = "0.1.0"

__all__ = [
    "ClusterConfig",
    "Codebook",
    "CodedImages",
    "CompressConfig",
    "CutConfig",
    "Dataset",
    "DecodeConfig",
    "DictionaryConfig",
    "DkmeansError",
    "FacesConfig",
    "FitConfig",
    "ImageFolder",
    "IngestConfig",
    "JobConfig",
    "KMeans",
    "PaletteConfig",
    "QuantizeConfig",
    "ReconstructConfig",
    "ReportConfig",
    "Sweep",
    "SweepConfig",
    "compress",
    "cut",
    "decode",
    "dictionary",
    "faces",
    "fit",
    "ingest",
    "load_job",
    "open_codebook",
    "open_coded",
    "open_dataset",
    "open_folder",
    "open_sweep",
    "palette",
    "quantize",
    "reconstruct",
    "storage_options",
    "sweep",
    "write_report",
]

_CONFIG = (
    "ClusterConfig CompressConfig CutConfig DecodeConfig DictionaryConfig FacesConfig FitConfig IngestConfig "
    "JobConfig PaletteConfig QuantizeConfig ReconstructConfig ReportConfig SweepConfig load_job"
)
_STAGES = "compress cut decode fit ingest quantize reconstruct sweep"
_HOME = {
    **dict.fromkeys(_CONFIG.split(), "config"),
    **{name: f"stages.{name}" for name in _STAGES.split()},
    **{name: f"studies.{name}.study" for name in ("dictionary", "faces", "palette")},
    "Codebook": "artefacts.codebook",
    "Dataset": "artefacts.dataset",
    "DkmeansError": "errors",
    "KMeans": "clustering.estimator",
    "CodedImages": "artefacts.coded",
    "ImageFolder": "artefacts.folder",
    "Sweep": "artefacts.sweep",
    "open_coded": "artefacts.coded",
    "open_folder": "artefacts.folder",
    "open_codebook": "artefacts.codebook",
    "open_dataset": "artefacts.dataset",
    "open_sweep": "artefacts.sweep",
    "storage_options": "storage.access",
    "write_report": "report.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dkmeans' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dkmeans.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

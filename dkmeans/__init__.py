"""Exact k-means codebooks for collections of images.

The stages `ingest`, `fit`, `compress` and `reconstruct` take a config, read from storage and write to it;
`open_dataset`, `open_codebook` and `open_result` read what they wrote. Names load when they are first used,
so that ``import dkmeans`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dkmeans.access import storage_options
    from dkmeans.clustering.estimator import KMeans
    from dkmeans.codebook import Codebook, open_codebook
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
    from dkmeans.dataset import Dataset, open_dataset
    from dkmeans.errors import DkmeansError
    from dkmeans.report.page import write_report
    from dkmeans.result import Result, open_result
    from dkmeans.stages.compress import compress
    from dkmeans.stages.fit import fit
    from dkmeans.stages.ingest import ingest
    from dkmeans.stages.reconstruct import reconstruct
    from dkmeans.stages.sweep import sweep
    from dkmeans.sweeps import Sweep, open_sweep

__version__ = "0.1.0"

__all__ = [
    "ClusterConfig",
    "Codebook",
    "CompressConfig",
    "CutConfig",
    "Dataset",
    "DecodeConfig",
    "DictionaryConfig",
    "DkmeansError",
    "FacesConfig",
    "FitConfig",
    "IngestConfig",
    "JobConfig",
    "KMeans",
    "PaletteConfig",
    "QuantizeConfig",
    "ReconstructConfig",
    "ReportConfig",
    "Result",
    "Sweep",
    "SweepConfig",
    "compress",
    "fit",
    "ingest",
    "load_job",
    "open_codebook",
    "open_dataset",
    "open_result",
    "open_sweep",
    "reconstruct",
    "storage_options",
    "sweep",
    "write_report",
]

_CONFIG = (
    "ClusterConfig CompressConfig CutConfig DecodeConfig DictionaryConfig FacesConfig FitConfig IngestConfig "
    "JobConfig PaletteConfig QuantizeConfig ReconstructConfig ReportConfig SweepConfig load_job"
)
_HOME = {
    **dict.fromkeys(_CONFIG.split(), "config"),
    "Codebook": "codebook",
    "Dataset": "dataset",
    "DkmeansError": "errors",
    "KMeans": "clustering.estimator",
    "Result": "result",
    "Sweep": "sweeps",
    "compress": "stages.compress",
    "fit": "stages.fit",
    "ingest": "stages.ingest",
    "open_codebook": "codebook",
    "open_dataset": "dataset",
    "open_result": "result",
    "open_sweep": "sweeps",
    "reconstruct": "stages.reconstruct",
    "storage_options": "access",
    "sweep": "stages.sweep",
    "write_report": "report.page",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dkmeans' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dkmeans.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

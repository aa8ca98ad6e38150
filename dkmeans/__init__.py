"""Exact k-means codebooks for collections of images.

The stages `ingest`, `fit`, `sweep`, `cut`, `compress`, `reconstruct`, `quantize` and `decode`, and the
studies `dictionary`, `palette` and `faces`, take a config, read from storage and write to it; `open_dataset`,
`open_codebook`, `open_sweep`, `open_result` and `open_archive` read what they wrote. Names load when they are
first used, so that ``import dkmeans`` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dkmeans.artefacts.archive import Archive, open_archive
    from dkmeans.artefacts.codebook import Codebook, open_codebook
    from dkmeans.artefacts.dataset import Dataset, open_dataset
    from dkmeans.artefacts.result import Result, open_result
    from dkmeans.artefacts.sweep import Sweep, open_sweep
    from dkmeans.clustering.estimator import KMeans
    from dkmeans.command.job import JobConfig, load_job
    from dkmeans.config.cluster import ClusterConfig
    from dkmeans.config.stages import (
        CompressConfig,
        CutConfig,
        DecodeConfig,
        FitConfig,
        IngestConfig,
        QuantizeConfig,
        ReconstructConfig,
        ReportConfig,
        SweepConfig,
    )
    from dkmeans.config.studies import DictionaryConfig, FacesConfig, PaletteConfig
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
    "Archive",
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
    "cut",
    "decode",
    "dictionary",
    "faces",
    "fit",
    "ingest",
    "load_job",
    "open_archive",
    "open_codebook",
    "open_dataset",
    "open_result",
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
    "Archive": "artefacts.archive",
    "Codebook": "artefacts.codebook",
    "Dataset": "artefacts.dataset",
    "DkmeansError": "errors",
    "KMeans": "clustering.estimator",
    "Result": "artefacts.result",
    "Sweep": "artefacts.sweep",
    "open_archive": "artefacts.archive",
    "open_codebook": "artefacts.codebook",
    "open_dataset": "artefacts.dataset",
    "open_result": "artefacts.result",
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

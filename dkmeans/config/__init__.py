"""One frozen, validated model for each stage of a job, and one for a whole job file.

The fields are the options of the command line and the keys of a job file: ``--max-iter 10`` is
``max_iter = 10``. A value that does not fit, or a key that does not exist, is a `UsageError` that names
it, what was expected, and the nearest key that exists.
"""

from dkmeans.config.base import StageConfig
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.job import JobConfig, RunConfig, load_job
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

__all__ = [
    "ClusterConfig",
    "CompressConfig",
    "CutConfig",
    "DecodeConfig",
    "DictionaryConfig",
    "FacesConfig",
    "FitConfig",
    "IngestConfig",
    "JobConfig",
    "PaletteConfig",
    "QuantizeConfig",
    "ReconstructConfig",
    "ReportConfig",
    "RunConfig",
    "StageConfig",
    "SweepConfig",
    "load_job",
]

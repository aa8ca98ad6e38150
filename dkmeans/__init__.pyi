# Written by make stubs.
from dkmeans.artefacts.codebook import Codebook as Codebook
from dkmeans.artefacts.codebook import open_codebook as open_codebook
from dkmeans.artefacts.coded import CodedImages as CodedImages
from dkmeans.artefacts.coded import open_coded as open_coded
from dkmeans.artefacts.dataset import Dataset as Dataset
from dkmeans.artefacts.dataset import open_dataset as open_dataset
from dkmeans.artefacts.folder import ImageFolder as ImageFolder
from dkmeans.artefacts.folder import open_folder as open_folder
from dkmeans.artefacts.sweep import Sweep as Sweep
from dkmeans.artefacts.sweep import open_sweep as open_sweep
from dkmeans.command.job import JobConfig as JobConfig
from dkmeans.command.job import RunConfig as RunConfig
from dkmeans.command.job import load_job as load_job
from dkmeans.command.run import run_job as run_job
from dkmeans.compute.distributed import Distributed as Distributed
from dkmeans.compute.in_process import InProcess as InProcess
from dkmeans.config.cluster import ClusterConfig as ClusterConfig
from dkmeans.config.stages import CompressConfig as CompressConfig
from dkmeans.config.stages import CutConfig as CutConfig
from dkmeans.config.stages import DecodeConfig as DecodeConfig
from dkmeans.config.stages import ExportConfig as ExportConfig
from dkmeans.config.stages import FitConfig as FitConfig
from dkmeans.config.stages import IngestConfig as IngestConfig
from dkmeans.config.stages import QuantizeConfig as QuantizeConfig
from dkmeans.config.stages import ReconstructConfig as ReconstructConfig
from dkmeans.config.stages import ReportConfig as ReportConfig
from dkmeans.config.stages import SweepConfig as SweepConfig
from dkmeans.config.studies import DictionaryConfig as DictionaryConfig
from dkmeans.config.studies import FacesConfig as FacesConfig
from dkmeans.config.studies import PaletteConfig as PaletteConfig
from dkmeans.errors import DkmeansError as DkmeansError
from dkmeans.estimators.kmeans import KMeans as KMeans
from dkmeans.estimators.minibatch import MiniBatchKMeans as MiniBatchKMeans
from dkmeans.report.page import write_report as write_report
from dkmeans.stages.compress import compress as compress
from dkmeans.stages.cut import cut as cut
from dkmeans.stages.decode import decode as decode
from dkmeans.stages.export import export as export
from dkmeans.stages.fit import fit as fit
from dkmeans.stages.ingest import ingest as ingest
from dkmeans.stages.quantize import quantize as quantize
from dkmeans.stages.reconstruct import reconstruct as reconstruct
from dkmeans.stages.sweep import sweep as sweep
from dkmeans.storage.access import storage_options as storage_options
from dkmeans.studies.dictionary.study import dictionary as dictionary
from dkmeans.studies.faces.study import faces as faces
from dkmeans.studies.palette.study import palette as palette

__version__: str

__all__ = [
    "ClusterConfig",
    "Codebook",
    "CodedImages",
    "CompressConfig",
    "CutConfig",
    "Dataset",
    "DecodeConfig",
    "DictionaryConfig",
    "Distributed",
    "DkmeansError",
    "ExportConfig",
    "FacesConfig",
    "FitConfig",
    "ImageFolder",
    "InProcess",
    "IngestConfig",
    "JobConfig",
    "KMeans",
    "MiniBatchKMeans",
    "PaletteConfig",
    "QuantizeConfig",
    "ReconstructConfig",
    "ReportConfig",
    "RunConfig",
    "Sweep",
    "SweepConfig",
    "compress",
    "cut",
    "decode",
    "dictionary",
    "export",
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
    "run_job",
    "storage_options",
    "sweep",
    "write_report",
]

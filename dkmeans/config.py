"""One frozen, validated model for each stage of a job, and one for a whole job file.

The fields are the options of the command line and the keys of a job file: ``--max-iter 10`` is
``max_iter = 10``. A value that does not fit, or a key that does not exist, is a `UsageError` that names
it, what was expected, and the nearest key that exists.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from dkmeans.errors import InputError, UsageError

__all__ = [
    "ClusterConfig",
    "CompressConfig",
    "FitConfig",
    "IngestConfig",
    "JobConfig",
    "ReconstructConfig",
    "ReportConfig",
    "RunConfig",
    "StageConfig",
    "load_job",
]


def _parse_size(value: object) -> object:
    """``5`` and ``"5"`` are (5, 5); ``"8x6"`` is (8, 6): rows by columns."""
    if isinstance(value, bool):
        raise ValueError("expected a size such as 5 or 8x8")
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+)(?:\s*[xX]\s*(\d+))?\s*", value)
        if match is None:
            raise ValueError("expected a size such as 5 or 8x8")
        return (int(match[1]), int(match[2] or match[1]))
    return value


def _as_text(value: object) -> object:
    """``true`` and ``3`` of a job file as the text that they are on a command line."""
    return str(value).lower() if isinstance(value, (bool, int, float)) else value


_Text = Annotated[str, BeforeValidator(_as_text)]
_Positive = Annotated[int, Field(ge=1)]
_Size = Annotated[tuple[_Positive, _Positive], BeforeValidator(_parse_size)]


_NOT_RECORDED = {"overwrite", "resume", "max_skipped", "checkpoint_seconds"}


class _Model(BaseModel):
    """Frozen, strict about unknown keys, and with errors in the words of dkmeans."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(_explain(error, type(self))) from None


class StageConfig(_Model):
    """What every stage that writes an artefact has in common."""

    overwrite: bool = False
    """Delete the output first, if it is an artefact of dkmeans."""
    resume: bool = False
    """Go on with an unfinished output; a finished one of the same config is left as it is."""

    def recorded(self) -> dict[str, Any]:
        """The options that decide what is written, as JSON values, for the claim and the manifest."""
        return self.model_dump(mode="json", exclude=_NOT_RECORDED)


class IngestConfig(StageConfig):
    """Images to a dataset."""

    source: str
    """A folder or URL prefix of images, one image, an IDX file, or an .npy stack."""
    dataset: str
    """URL of the dataset to write."""
    color: Literal["rgb", "gray", "rgba"] = "rgb"
    """Channels of the stored pixels: 3, 1 or 4."""
    patch: _Size | None = None
    """Height and width of the patches in pixels, such as 5 or 8x6; not given, no patches are stored."""
    stride: _Size = (1, 1)
    """Rows and columns from one patch to the next, in pixels."""
    blank_threshold: float = Field(default=0.0, ge=-1.0, le=1.0)
    """A patch is kept when its sum exceeds this share of the largest possible sum; -1 keeps all."""
    max_skipped: int = Field(default=0, ge=0)
    """Images that may be skipped because they cannot be read."""
    max_image_pixels: int = Field(default=178_956_970, ge=1)
    """Pixels of the largest image that is decoded: the guard against decompression bombs."""
    shard_mib: float = Field(default=64.0, gt=0, le=4096)
    """MiB of rows in one shard: what one task writes, and what one block of a fit holds."""


class FitConfig(StageConfig):
    """A dataset to a codebook."""

    dataset: str
    """URL of the dataset to read."""
    codebook: str
    """URL of the codebook to write."""
    n_clusters: int = Field(ge=1, validation_alias=AliasChoices("n_clusters", "k"))
    """Number of clusters."""
    on: Literal["pixels", "patches"] = "pixels"
    """What to cluster: single pixels, or patches."""
    init: Literal["k-means||", "k-means||-cached", "k-means++", "random"] = "k-means||"
    """How the first centers are chosen; the cached k-means|| takes less than half the time of dask-ml's."""
    max_iter: int = Field(default=100, ge=1)
    """Most Lloyd iterations."""
    tol: float = Field(default=1e-4, ge=0, allow_inf_nan=False)
    """Stop when the squared center shift is at most this times the mean variance of the features."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random number."""
    checkpoint_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Least seconds from one checkpoint to the next; 0 makes one after each iteration."""


class CompressConfig(StageConfig):
    """Pixels to codes and a palette."""

    dataset: str
    """URL of the dataset to read."""
    codebook: str
    """URL of a codebook that was fit on pixels."""
    result: str
    """URL of the result to write."""
    images: str | None = None
    """URL of a folder for one indexed PNG per image; not given, none are written."""


class ReconstructConfig(StageConfig):
    """Patches to codes, and images put together from their nearest centers."""

    dataset: str
    """URL of the dataset to read."""
    codebook: str
    """URL of a codebook that was fit on patches."""
    result: str
    """URL of the result to write."""
    images: str | None = None
    """URL of a folder for one PNG per image; not given, none are written."""


class ReportConfig(_Model):
    """Results to one page of pictures."""

    page: str
    """Path of the HTML page to write."""
    results: Sequence[str] = Field(min_length=1)
    """URLs of results of compress and reconstruct."""
    n_images: int = Field(default=4, ge=1, le=100)
    """Images shown per result."""
    title: str = "dkmeans report"
    """Heading of the page."""


class RunConfig(StageConfig):
    """A whole job file; what the command line sets goes before what the file says."""

    job: str
    """Path of the job file."""
    dry_run: bool = False
    """Print the plan, bytes, blocks and memory, and write nothing."""


class ClusterConfig(_Model):
    """Where the tasks run."""

    scheduler: str = "local"
    """``local``: workers of our own; ``sync``: in this process, one task after the other; else an address
    such as ``tls://host:8786``, or the path of a scheduler file."""
    tls_ca: str | None = None
    """File of the authority that has signed the certificates of scheduler and workers, PEM."""
    tls_cert: str | None = None
    """File of our own certificate, PEM; without these three those of Dask's own config are used."""
    tls_key: str | None = None
    """File of the key to it, PEM."""
    insecure: bool = False
    """Connect to a scheduler on another machine without TLS."""
    connect_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds to wait for a scheduler with a worker."""
    workers: int = Field(default=1, ge=1)
    """Worker processes of a local cluster."""
    threads_per_worker: int | None = Field(default=None, ge=1)
    """Tasks at a time per local worker; not given, the workers share the cores."""
    memory_limit: str = "auto"
    """Memory per local worker, such as ``2GiB``; ``auto`` shares the machine's among the workers."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """``gpu`` demands one on every worker, ``auto`` takes one where there is one; the bits are the same."""
    performance_report: str | None = None
    """Path of an HTML page of what each worker did when, made by Dask."""


class JobConfig(_Model):
    """A whole pipeline: the stages of a job file, run in this order."""

    cluster: ClusterConfig = ClusterConfig()
    storage: dict[str, _Text] = Field(default={}, repr=False)
    """Options of the object store, as with ``--storage-option``."""
    ingest: tuple[IngestConfig, ...] = ()
    fit: tuple[FitConfig, ...] = ()
    compress: tuple[CompressConfig, ...] = ()
    reconstruct: tuple[ReconstructConfig, ...] = ()
    report: ReportConfig | None = None

    @classmethod
    def from_tables(cls, tables: dict[str, Any]) -> Self:
        """A job from the tables of a TOML file; ``[fit]`` is short for one ``[[fit]]``."""
        values = dict(tables)
        for name, model in _TABLES.items():
            found = tables.get(name)
            if isinstance(found, dict):
                made = _from_table(model, f"[{name}]", found)
                values[name] = [made] if name in _STAGES else made
            elif isinstance(found, list) and name in _STAGES:
                values[name] = [
                    _from_table(model, f"[[{name}]] number {number}", table)
                    for number, table in enumerate(found, 1)
                ]
        return cls(**values)

    def override(self, flags: StageConfig, cluster: ClusterConfig) -> Self:
        """The job with what the command line has set instead of what the file says."""
        on = {name: True for name in ("overwrite", "resume") if getattr(flags, name)}
        stages = {
            name: tuple(stage.model_copy(update=on) for stage in getattr(self, name)) for name in _STAGES
        }
        given = {name: getattr(cluster, name) for name in cluster.model_fields_set}
        return self.model_copy(update={**stages, "cluster": self.cluster.model_copy(update=given)})


_STAGES: dict[str, type[_Model]] = {
    "ingest": IngestConfig,
    "fit": FitConfig,
    "compress": CompressConfig,
    "reconstruct": ReconstructConfig,
}
_TABLES: dict[str, type[_Model]] = {"cluster": ClusterConfig, **_STAGES, "report": ReportConfig}


def load_job(path: str) -> JobConfig:
    """Read and validate a job file.

    Raises
    ------
    InputError
        If there is no such file.
    UsageError
        If it is not TOML, has no stage, an unknown key or a value that does not fit.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise InputError(f"{path}: no such job file. Check the path.") from error
    except OSError as error:
        raise InputError(f"{path}: the job file cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a TOML file: {error}.") from error
    try:
        job = JobConfig.from_tables(tables)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    if not (job.ingest or job.fit or job.compress or job.reconstruct or job.report):
        raise UsageError(f"{path} has no stage; expected tables such as [ingest] and [fit].")
    return job


def _from_table(model: type[_Model], where: str, table: Any) -> Any:
    """A model from one table of a job file; its errors say in which table they are."""
    if not isinstance(table, dict):
        return table
    try:
        return model(**table)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _explain(error: ValidationError, model: type[BaseModel]) -> str:
    return "; ".join(_explain_one(dict(details), model) for details in error.errors())


def _explain_one(details: dict[str, Any], model: type[BaseModel]) -> str:
    location = details["loc"]
    where = ".".join(str(part) for part in location) or "config"
    if details["type"] == "extra_forbidden":
        return f"unknown key {where!r}{_nearest(where, model)}"
    if details["type"] == "missing":
        return f"{'k' if where == 'n_clusters' else where} is missing; it has to be given"
    message = details["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if location and location[0] == "storage":  # whose values may be secrets
        return f"{where}: {message.replace('input should be', 'expected')}"
    return f"{where}: found {details['input']!r}; {message.replace('input should be', 'expected')}"


def _nearest(key: str, model: type[BaseModel]) -> str:
    """The hint ``; did you mean 'max_iter'?`` among the keys of `model`."""
    keys = ["k" if name == "n_clusters" else name for name in model.model_fields]
    if key in keys:  # k beside n_clusters, which is the same
        return "; it is given twice"
    close = difflib.get_close_matches(key, keys, n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else f"; expected one of {', '.join(keys)}"

"""Configs: frozen, and every mistake is named with what was expected instead."""

import errno
import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from dkmeans.command.job import JobConfig, load_job
from dkmeans.command.registry import COMMANDS
from dkmeans.config.base import PLACES, StageConfig
from dkmeans.config.cluster import ClusterConfig
from dkmeans.config.stages import (
    CompressConfig,
    FitConfig,
    IngestConfig,
    ReconstructConfig,
    ReportConfig,
    SweepConfig,
)
from dkmeans.errors import InputError, UsageError

INGEST = {"source": "photos", "dataset": "data"}
FIT = {"dataset": "data", "codebook": "book", "k": 3}
RESULT = {"dataset": "data", "codebook": "book", "result": "out"}


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (FitConfig, {**FIT, "max_itr": 3}, "unknown key 'max_itr'; did you mean 'max_iter'?"),
        (IngestConfig, {**INGEST, "colour": "rgb"}, "unknown key 'colour'; did you mean 'color'?"),
        (ClusterConfig, {"workrs": 2}, "unknown key 'workrs'; did you mean 'workers'?"),
        (ClusterConfig, {"self": 2}, "unknown key 'self'"),
        (
            FitConfig,
            {**FIT, "zzzzqq": 3},
            "unknown key 'zzzzqq'; expected one of overwrite, resume, init, max_iter, tol, min_gain, "
            "relaxation, seed, checkpoint_seconds, dataset, codebook, k, on",
        ),
        (FitConfig, {**FIT, "n_clusters": 3}, "unknown key 'k'; it is given twice"),
        (FitConfig, {"dataset": "a", "k": 3}, "codebook is missing; it is required"),
        (FitConfig, {"dataset": "a", "codebook": "b"}, "k is missing; it is required"),
        (FitConfig, {**FIT, "k": 0}, "k: found 0; expected greater than or equal to 1"),
        (FitConfig, {**FIT, "k": 2.5}, "k: found 2.5; expected a valid integer, got a number with"),
        (FitConfig, {**FIT, "k": "few"}, "k: found 'few'; expected a valid integer"),
        (FitConfig, {**FIT, "max_iter": 0}, "max_iter: found 0; expected greater than or equal to 1"),
        (FitConfig, {**FIT, "relaxation": 2}, "relaxation: found 2; expected less than or equal to 1.99"),
        (FitConfig, {**FIT, "relaxation": 0.9}, "relaxation: found 0.9; expected greater than or equal to 1"),
        (
            FitConfig,
            {**FIT, "min_gain": -1e-9},
            "min_gain: found -1e-09; expected greater than or equal to 0",
        ),
        (FitConfig, {**FIT, "tol": -1}, "tol: found -1; expected greater than or equal to 0"),
        (FitConfig, {**FIT, "tol": float("nan")}, "tol: found nan; expected a finite number"),
        (FitConfig, {**FIT, "tol": float("inf")}, "tol: found inf; expected a finite number"),
        (FitConfig, {**FIT, "seed": -1}, "seed: found -1; expected greater than or equal to 0"),
        (FitConfig, {**FIT, "init": "kmeans"}, "init: found 'kmeans'; expected 'k-means||', 'k-means||-"),
        (FitConfig, {**FIT, "on": "images"}, "on: found 'images'; expected 'pixels' or 'patches'"),
        (IngestConfig, {**INGEST, "color": "hsv"}, "color: found 'hsv'; expected 'auto', 'rgb', 'gray' or"),
        (IngestConfig, {**INGEST, "blank_threshold": 1.5}, "blank_threshold: found 1.5; expected less than"),
        (IngestConfig, {**INGEST, "max_skipped": -1}, "max_skipped: found -1; expected a number of images"),
        (IngestConfig, {**INGEST, "shard_mib": 0}, "shard_mib: found 0; expected greater than 0"),
        (
            IngestConfig,
            {**INGEST, "shard_mib": 5000},
            "shard_mib: found 5000; expected less than or equal to",
        ),
        (ClusterConfig, {"device": "tpu"}, "device: found 'tpu'; expected 'auto', 'cpu' or 'gpu'"),
        (ClusterConfig, {"workers": 0}, "workers: found 0; expected greater than or equal to 1"),
        (ReportConfig, {"page": "p", "results": []}, "results: found []; value should have at least 1 item"),
    ],
)
def test_a_mistake_is_named_with_what_was_expected(model, values, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        model(**values)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(UsageError, match=r"tol: found -1; .*; k: found 0; .*unknown key 'sede'"):
        FitConfig(**{**FIT, "k": 0, "tol": -1, "sede": 1})


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (5, (5, 5)),
        ("5", (5, 5)),
        ("8x6", (8, 6)),
        (" 8 X 6 ", (8, 6)),
        ([8, 6], (8, 6)),
        ((8, 6), (8, 6)),
        (None, None),
    ],
)
def test_patch_sizes_are_rows_by_columns(given, size):
    assert IngestConfig(**INGEST, patch=given).patch == size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0", "patch: found 0; expected greater than or equal to 1"),
        (0, "patch: found 0; expected greater than or equal to 1"),
        ("8x0", "patch: found 0; expected greater than or equal to 1"),
        ("5y", "patch: found '5y'; expected a size such as 5 or 8x8"),
        ("8x", "patch: found '8x'; expected a size such as 5 or 8x8"),
        ("x8", "patch: found 'x8'; expected a size such as 5 or 8x8"),
        ("-5", "patch: found '-5'; expected a size such as 5 or 8x8"),
        ("", "patch: found ''; expected a size such as 5 or 8x8"),
        (True, "patch: found True; expected a size such as 5 or 8x8"),
        (5.5, "patch: found 5.5; expected a valid tuple"),
        ([8], "patch.1 is missing; it is required"),
        ([8, 6, 3], "patch: found [8, 6, 3]; "),
    ],
)
def test_a_bad_size_is_refused(given, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        IngestConfig(**INGEST, patch=given)
    with pytest.raises(UsageError, match=re.escape(message.replace("patch", "stride"))):
        IngestConfig(**INGEST, stride=given)


def test_k_and_n_clusters_are_the_same():
    assert FitConfig(**FIT) == FitConfig(dataset="data", codebook="book", n_clusters=3)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (IngestConfig(**INGEST), "source"),
        (FitConfig(**FIT), "n_clusters"),
        (CompressConfig(**RESULT), "result"),
        (ReconstructConfig(**RESULT), "images"),
        (ReportConfig(page="p", results=["r"]), "page"),
        (ClusterConfig(), "workers"),
        (JobConfig(), "stages"),
    ],
)
def test_configs_are_frozen(config, field):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config, field, getattr(config, field))


def test_recorded_leaves_out_what_decides_nothing_about_the_output():
    plain = IngestConfig(**INGEST, patch="8x6")
    assert plain.recorded() == IngestConfig(**INGEST, patch=[8, 6], resume=True, max_skipped=7).recorded()
    assert plain.recorded() == IngestConfig(**INGEST, patch=[8, 6], overwrite=True).recorded()
    assert plain.recorded() == {
        "source": "photos",
        "dataset": "data",
        "color": "auto",
        "patch": [8, 6],  # as JSON gives it back, so that a resumed config compares equal
        "stride": [1, 1],
        "blank_threshold": 0.0,
        "profile": "keep",
        "max_image_pixels": 178_956_970,
        "shard_mib": 64.0,
    }
    assert set(FitConfig(**FIT).recorded()) == {
        *("dataset", "codebook", "n_clusters", "on", "start", "init"),
        *("max_iter", "tol", "min_gain", "relaxation", "seed"),
    }


# Job files

FIT_TABLE = 'dataset = "data"\ncodebook = "book"\nk = 3\n'


@pytest.fixture
def from_folder(tmp_path):
    """Options of a stage as a job file in `tmp_path` gives them."""
    return lambda options: {
        name: str(tmp_path / value) if name in PLACES else value for name, value in options.items()
    }


def job_of(folder, text):
    path = folder / "job.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_job(str(path))


def test_a_short_table_is_one_stage(tmp_path, from_folder):
    short, long = job_of(tmp_path, f"[fit]\n{FIT_TABLE}"), job_of(tmp_path, f"[[fit]]\n{FIT_TABLE}")
    assert short == long
    assert short.stages == {"fit": (FitConfig(**from_folder(FIT)),)}
    assert short.report is None
    assert short.cluster == ClusterConfig()


def test_a_whole_job(tmp_path, from_folder):
    job = job_of(
        tmp_path,
        '[cluster]\nscheduler = "sync"\n'
        '[ingest]\nsource = "photos"\ndataset = "data"\npatch = "8x6"\nstride = 2\n'
        f"[[fit]]\n{FIT_TABLE}[[fit]]\n{FIT_TABLE}seed = 4\n"
        '[compress]\ndataset = "data"\ncodebook = "book"\nresult = "out"\n'
        '[reconstruct]\ndataset = "data"\ncodebook = "book"\nresult = "out2"\nimages = "png"\n'
        '[report]\npage = "page.html"\nresults = ["out", "out2"]\n',
    )
    assert job == JobConfig(
        cluster=ClusterConfig(scheduler="sync"),
        stages={
            "ingest": (IngestConfig(**from_folder(INGEST), patch=(8, 6), stride=(2, 2)),),
            "fit": (FitConfig(**from_folder(FIT)), FitConfig(**from_folder(FIT), seed=4)),
            "compress": (CompressConfig(**from_folder(RESULT)),),
            "reconstruct": (ReconstructConfig(**from_folder({**RESULT, "result": "out2", "images": "png"})),),
        },
        report=ReportConfig(page=f"{tmp_path}/page.html", results=[f"{tmp_path}/out", f"{tmp_path}/out2"]),
    )


def test_paths_are_relative_to_the_file_and_all_else_is_as_it_says(tmp_path, monkeypatch):
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path)
    text = (
        '[cluster]\ntls_ca = "ca.pem"\nscheduler = "sync"\nperformance_report = "~/dask.html"\n'
        '[storage]\nregion = "out"\n'
        '[ingest]\nsource = "../photos"\ndataset = "/abs/data"\n'
        '[fit]\ndataset = "s3://bucket/data"\ncodebook = "file:///abs/book"\nk = 3\nfrom = "old"\n'
        '[[quantize]]\nsource = "a"\ndestination = "memory://out"\npalette = "shared"\nreport = "page.html"\n'
        '[[quantize]]\nsource = "a"\ndestination = "b"\npalette = "my.gpl"\n'
    )
    Path("jobs/job.toml").write_text(text)
    job = load_job("jobs/job.toml")
    assert (job.cluster.tls_ca, job.cluster.scheduler) == (f"{tmp_path}/jobs/ca.pem", "sync")
    assert job.cluster.performance_report == "~/dask.html"
    assert job.storage == {"region": "out"}
    (ingest,), (fit,), (shared, given) = (job.stages[name] for name in ("ingest", "fit", "quantize"))
    assert (ingest.source, ingest.dataset) == (f"{tmp_path}/photos", "/abs/data")
    assert (fit.dataset, fit.codebook, fit.start) == (
        "s3://bucket/data",
        "file:///abs/book",
        f"{tmp_path}/jobs/old",
    )
    assert (shared.destination, shared.palette) == ("memory://out", "shared")
    assert (shared.report, given.palette) == (f"{tmp_path}/jobs/page.html", f"{tmp_path}/jobs/my.gpl")


def test_every_path_and_url_is_known_as_one():
    """By its docstring: a field that is forgotten would not be relative to the job file."""
    models = [stage.config for stage in COMMANDS] + [ClusterConfig, ReportConfig]
    told = set()
    for model in models:
        for name, field in model.model_fields.items():
            text = field.description or ""
            if "str" in str(field.annotation) and re.search(r"\b(URL|URLs|Path|PEM|folder|IDX)\b", text):
                told.add(name)
    # An address, and what is a word or a file, which job files know.
    assert told - {"scheduler", "palette"} <= PLACES
    assert told | {"report", "test"} >= PLACES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no stage; expected tables such as [ingest] and [fit]."),
        ("[cluster]\nworkers = 3\n", "has no stage; expected tables such as [ingest] and [fit]."),
        ("fit = []\n", "has no stage; expected tables such as [ingest] and [fit]."),
        (f"[fitt]\n{FIT_TABLE}", ": unknown key 'fitt'; did you mean 'fit'?"),
        (
            "overwrite = true\n",
            ": unknown key 'overwrite'; expected one of cluster, storage, ingest, fit, sweep,",
        ),
        (f"[fit]\n{FIT_TABLE}max_itr = 3\n", ": [fit]: unknown key 'max_itr'; did you mean 'max_iter'?"),
        ("[cluster]\nworkrs = 3\n", ": [cluster]: unknown key 'workrs'; did you mean 'workers'?"),
        ('[report]\npage = "p"\nresult = ["r"]\n', "unknown key 'result'; did you mean 'results'?"),
        (
            f'[[fit]]\n{FIT_TABLE}[[fit]]\ndataset = "a"\nk = 3\n',
            ": [[fit]] number 2: codebook is missing; it is required",
        ),
        (f"[fit]\n{FIT_TABLE}".replace("k = 3", "k = 0"), ": [fit]: k: found 0; expected greater than"),
        ("fit = 3\n", ": fit: found 3; expected a table such as [fit]"),
        ("fit = [3]\n", ": [[fit]] number 1: found 3; expected a table"),
        ('[[report]]\npage = "p"\n', ": [report]: found [{'page': '"),
        ("[fit\n", "is not a TOML file: "),
        (b"\xff\xfe\x00", "is not a TOML file: "),
    ],
)
def test_a_mistake_in_a_job_file_is_named_with_file_and_table(tmp_path, text, message):
    with pytest.raises(UsageError, match=re.escape(f"job.toml{message}" if message[0] == ":" else message)):
        job_of(tmp_path, text)


def test_a_missing_job_file_is_an_input_error(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"no such job file\. Check the path") as caught:
            load_job(str(path))
        assert caught.value.exit_code == 3


def test_a_job_file_that_may_not_be_read(monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "read_text", refuse)  # a mode of 0 would not stop root
    with pytest.raises(InputError, match=r"job\.toml: the job file cannot be read: Permission denied"):
        load_job("job.toml")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("scheduler", [None, "tcp://host:8786"])
def test_the_command_line_goes_before_the_file(overwrite, resume, scheduler):
    stages = {
        "ingest": (IngestConfig(**INGEST, max_skipped=2),),
        "fit": (FitConfig(**FIT), FitConfig(**FIT, resume=True)),
        "compress": (CompressConfig(**RESULT),),
        "reconstruct": (ReconstructConfig(**RESULT, overwrite=True),),
    }
    job = JobConfig(cluster=ClusterConfig(workers=3), stages=stages)
    given = {"scheduler": scheduler} if scheduler else {}
    flags = StageConfig(overwrite=overwrite, resume=resume)
    changed = job.override(flags, ClusterConfig(**given))
    assert changed.cluster == ClusterConfig(workers=3, scheduler=scheduler or "auto")
    for name, configs in stages.items():
        for before, after in zip(configs, changed.stages[name], strict=True):
            # A flag that is not given does not take back what the file says.
            assert after.overwrite == (overwrite or before.overwrite)
            assert after.resume == (resume or before.resume)
            assert after.recorded() == before.recorded()
            assert getattr(after, "max_skipped", None) == getattr(before, "max_skipped", None)
    assert job.stages == stages  # the job itself is as it was


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        (5, (5,)),
        ("100,200", (100, 200)),
        ("100:300:100", (100, 200, 300)),
        ("100:350:100", (100, 200, 300)),
        ("2:4", (2, 3, 4)),
        ("8, 1:2, 8", (1, 2, 8)),
        ([20, 10], (10, 20)),
    ],
)
def test_numbers_of_clusters_are_lists_and_ranges(given, counts):
    assert SweepConfig(dataset="a", sweep="b", k=given).n_clusters == counts


@pytest.mark.parametrize("given", ["", "a", "3:1", "1:5:0", "0,1", [], True, "1:2:3:4", "-1"])
def test_numbers_of_clusters_that_are_none(given):
    with pytest.raises(UsageError, match=r"k(\.\d)?: found|n_clusters"):
        SweepConfig(dataset="a", sweep="b", k=given)

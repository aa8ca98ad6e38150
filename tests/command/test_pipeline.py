"""A job file: validated, planned, run and resumed."""

from __future__ import annotations

import json

import pytest

from dkmeans import open_codebook, open_coded
from dkmeans.command.main import main


@pytest.fixture
def job(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.toml").write_text(
        f"""
        [cluster]
        scheduler = "sync"

        [ingest]
        source = "{photos}"
        dataset = "photos.zarr"
        patch = 5
        stride = "2x3"

        [[fit]]
        dataset = "photos.zarr"
        codebook = "palette.zarr"
        k = 5

        [[fit]]
        dataset = "photos.zarr"
        codebook = "patches.zarr"
        on = "patches"
        k = 12
        max_iter = 4
        tol = 0

        [compress]
        dataset = "photos.zarr"
        codebook = "palette.zarr"
        result = "compressed.zarr"
        images = "compressed"

        [reconstruct]
        dataset = "photos.zarr"
        codebook = "patches.zarr"
        result = "reconstructed.zarr"

        [report]
        page = "page.html"
        results = ["compressed.zarr", "reconstructed.zarr"]
        """
    )
    return tmp_path / "job.toml"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main(["run", *map(str, arguments)])
    out, err = capsys.readouterr()
    return caught.value.code or 0, out, err


def test_a_job_runs_and_resumes(job, capsys):
    code, out, _ = run(capsys, job, "--json")
    assert code == 0
    reports = json.loads(out)
    assert [len(reports[name]) for name in ("ingest", "fit", "compress", "reconstruct", "report")] == [
        1,
        2,
        1,
        1,
        1,
    ]
    assert reports["fit"][1]["centers_sha256"] == open_codebook("patches.zarr").manifest.centers_sha256
    assert open_coded("compressed.zarr").manifest.image_bytes == reports["compress"][0]["image_bytes"]
    assert (job.parent / "page.html").is_file()
    code, _, err = run(capsys, job)
    assert code == 2
    assert "--overwrite" in err
    code, out, _ = run(capsys, job, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["fit"][1]["centers_sha256"] == reports["fit"][1]["centers_sha256"]
    code, out, _ = run(capsys, job, "--overwrite", "--json")
    assert json.loads(out)["reconstruct"][0]["digest"] == reports["reconstruct"][0]["digest"]


def test_the_plan_writes_nothing(job, capsys):
    before = sorted(job.parent.iterdir())
    code, out, _ = run(capsys, job, "--dry-run", "--json")
    plans = json.loads(out)
    assert code == 0
    assert plans["ingest"][0]["n_images"] == 5
    assert plans["ingest"][0]["pixels_bytes"] == 3 * plans["ingest"][0]["n_pixels"]
    assert plans["fit"][1]["n_features"] == 75
    assert plans["fit"][0]["n_blocks"] == 1
    assert plans["fit"][0]["memory_rows_bytes"] == 11 * plans["ingest"][0]["n_pixels"]
    assert sorted(job.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("max_iter = 4", "max_itr = 4", "[[fit]] number 2: unknown key 'max_itr'; did you mean 'max_iter'?"),
        ("[compress]", "[compres]", "unknown key 'compres'; did you mean 'compress'?"),
        ("k = 12", "k = 0", "[[fit]] number 2: k: found 0"),
        ("k = 12", "", "[[fit]] number 2: k is missing"),
        ('stride = "2x3"', 'stride = "2by3"', "expected a size such as 5 or 8x8"),
        ("k = 5", "k = 5.5", "found 5.5"),
        ("[cluster]", "[cluster", "is not a TOML file"),
    ],
)
def test_a_job_file_with_a_mistake(job, capsys, old, new, text):
    job.write_text(job.read_text().replace(old, new, 1))
    code, out, err = run(capsys, job)
    assert code == 2
    assert text in err
    assert "job.toml" in err
    assert out == ""


def test_no_job_file(tmp_path, capsys):
    code, _, err = run(capsys, tmp_path / "none.toml")
    assert code == 3
    assert "no such job file" in err

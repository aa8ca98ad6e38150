"""A job file: validated, planned, run and resumed."""

from __future__ import annotations

import json
import re

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
    plan = json.loads(out)
    assert code == 0
    stages = plan["stages"]
    assert [each["stage"] for each in stages] == ["ingest", "fit", "fit", "compress", "reconstruct"]
    assert stages[0]["n_images"] == 5
    assert (stages[2]["n_features"], stages[1]["n_blocks"]) == (75, 1)
    assert stages[2]["iterations"] == {"least": 4, "expected": 4, "most": 4}
    assert stages[4]["n_clusters"] == 12  # of a codebook that is not there yet
    total = plan["total"]
    assert total["bytes_in"] == sum(each["bytes_in"] for each in stages)
    expected = total["start_seconds"] + sum(each["seconds"] for each in stages)
    assert total["seconds"] == pytest.approx(expected)
    assert total["price"] is None
    assert plan["machine"] == {"workers": 1, "threads": 1, "kind": "threads"}
    assert sorted(job.parent.iterdir()) == before


def test_the_plan_is_a_table_for_people(job, capsys):
    code, out, _ = run(capsys, job, "--dry-run", "--price-per-hour", "3600")
    assert code == 0
    head, *rows = out.splitlines()
    columns = "stage images rows in out blocks memory iterations GET PUT seconds writes"
    assert head.split() == columns.split()
    assert [row.split()[0] for row in rows[:5]] == ["ingest", "fit", "fit", "compress", "reconstruct"]
    assert rows[0].endswith("photos.zarr")
    assert re.split(r"\s{2,}", rows[2])[7] == "4"  # of which none is left open
    assert rows[5].startswith("total: 5 images; ")
    _, out, _ = run(capsys, job, "--dry-run", "--price-per-hour", "3600", "--json")
    total = json.loads(out)["total"]
    assert total["price"] == pytest.approx(total["seconds"])  # one worker, at 1 a second
    assert f"~{total['price']:.2g} at the given price" in rows[5]
    assert "rates of " in rows[6]


def test_a_stage_alone_is_planned_as_in_a_job(job, capsys):
    def stage(*arguments):
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--scheduler", "sync"])
        return caught.value.code or 0, *capsys.readouterr()

    source = re.search('source = "(.*)"', job.read_text())[1]
    ingest = ["ingest", source, "photos.zarr", "--patch", "5", "--stride", "2x3"]
    code, out, _ = stage(*ingest, "--dry-run", "--json")
    assert code == 0
    _, whole, _ = run(capsys, job, "--dry-run", "--json")
    assert json.loads(out)["stages"] == json.loads(whole)["stages"][:1]
    code, _, err = stage("fit", "photos.zarr", "c.zarr", "--k", "3", "--dry-run")
    assert code == 3
    assert "nothing is there" in err
    code, _, err = stage(*ingest, "--price-per-hour", "1")
    assert code == 2
    assert "--dry-run" in err
    assert not (job.parent / "photos.zarr").exists()


def test_what_cannot_be_planned_is_named(job, capsys):
    text = job.read_text()
    job.write_text(text + '\n[cut]\ncodebook = "patches.zarr"\ncut = "cut.zarr"\nk = 3\n')
    code, out, _ = run(capsys, job, "--dry-run")
    assert code == 0
    assert re.search(r"^cut( +-){10} +cut.zarr$", out, re.MULTILINE)
    assert "without cut: these find out as they go" in out


def test_a_run_tells_what_was_expected_and_what_it_took(job, capsys):
    _, planned, _ = run(capsys, job, "--dry-run", "--json")
    code, out, err = run(capsys, job, "--json")
    assert code == 0
    reports, stages = json.loads(out), json.loads(planned)["stages"]
    told = reports["plan"]
    assert [each["stage"] for each in told] == [each["stage"] for each in stages]
    assert [each["expected_seconds"] for each in told] == [each["seconds"] for each in stages]
    for each, report in zip(told, [*reports["ingest"], *reports["fit"]], strict=False):
        assert each["seconds"] >= report["seconds"] > 0  # with what lies around the stage
    lines = re.findall(r"^(\w+) (\S+): expected .* s, took .* s$", err, re.MULTILINE)
    assert lines == [(each["stage"], each["output"]) for each in stages]


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

"""The plan of a job: right where it can be known, and nothing is written."""

from __future__ import annotations

import pytest

from dkmeans import JobConfig, open_dataset
from dkmeans.errors import InputError
from dkmeans.stages.preview import preview


def test_the_plan_is_what_ingest_then_writes(photos, dataset, tmp_path):
    new = str(tmp_path / "d")
    job = JobConfig.from_tables(
        {
            "ingest": {"source": str(photos), "dataset": new, "patch": "4x5", "shard_mib": 0.02},
            "fit": [
                {"dataset": new, "codebook": "c", "k": 10},
                {"dataset": dataset, "codebook": "e", "k": 30, "on": "patches"},
            ],
            "compress": {"dataset": new, "codebook": "c", "result": "r"},
        }
    )
    plans = preview(job)
    stored = open_dataset(dataset)  # the same photos with the same options
    made = plans["ingest"][0]
    assert made["n_images"] == 5
    assert made["n_pixels"] == stored.manifest.n_pixels
    assert made["pixels_bytes"] == stored.pixels.nbytes
    assert made["n_patches"] == stored.manifest.n_patches  # no patch of these photos is blank
    assert made["patches_bytes"] == stored.patches.nbytes
    on_pixels, on_patches = plans["fit"]
    assert on_pixels["n_rows"] == stored.manifest.n_pixels
    assert on_patches["n_features"] == 60
    assert on_patches["memory_sums_bytes"] == 30 * 61 * 8
    assert plans["compress"][0]["n_codes"] == stored.manifest.n_pixels
    assert not (tmp_path / "d").exists()


def test_a_dataset_that_nobody_makes(tmp_path):
    job = JobConfig.from_tables({"fit": {"dataset": str(tmp_path / "d"), "codebook": "c", "k": 2}})
    with pytest.raises(InputError, match="nothing is there"):
        preview(job)

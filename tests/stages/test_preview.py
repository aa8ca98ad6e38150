"""The plan of a stage: computed by hand, what ingest then writes, and nothing on storage."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dkmeans import CompressConfig, FitConfig, IngestConfig, ReconstructConfig, SweepConfig, open_dataset
from dkmeans.errors import InputError
from dkmeans.stages.preview import (
    Shapes,
    plan_compress,
    plan_fit,
    plan_ingest,
    plan_reconstruct,
    plan_sweep,
)


@pytest.fixture
def small(tmp_path):
    """An image of 10 x 12 pixels and one of 7 x 20; patches of 4 x 5, every 2 rows and 3 columns."""
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(tmp_path / "in" / "a.png")
    Image.fromarray(np.zeros((7, 20), np.uint8)).save(tmp_path / "in" / "b.png")
    return IngestConfig(
        source=str(tmp_path / "in"),
        dataset=str(tmp_path / "d"),
        patch="4x5",
        stride="2x3",
        shard_mib=525 / (1 << 20),
    )


def test_an_ingest_by_hand(small, tmp_path):
    made = plan_ingest(small, Shapes([small]))
    assert made == {
        "dataset": small.dataset,
        "n_images": 2,
        "n_pixels": 120 + 140,
        "pixels_bytes": 260 * 3,
        "pixels_tasks": 2,  # of 175 pixels
        "n_patches": 4 * 3 + 2 * 6,
        "patches_bytes": 24 * 60,
        "patches_tasks": 3,  # of 8 patches
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_fit_by_hand(small):
    config = FitConfig(dataset=small.dataset, codebook="c", k=5, on="patches")
    assert plan_fit(config, Shapes([small])) == {
        "codebook": "c",
        "n_rows": 24,
        "n_features": 60,
        "n_clusters": 5,
        "n_blocks": 1,
        "distances_per_iteration": 24 * 5,
        "memory_rows_bytes": 24 * (60 + 8),
        "memory_block_bytes": 24 * (2 * 60 + 16),
        "memory_sums_bytes": 5 * (60 + 1) * 8,
    }


def test_a_sweep_is_planned_as_its_largest_fit(small):
    shapes = Shapes([small])
    sweep = plan_sweep(SweepConfig(dataset=small.dataset, sweep="s", k="2,9,4"), shapes)
    fit = plan_fit(FitConfig(dataset=small.dataset, codebook="s", k=9), shapes)
    assert sweep == fit
    assert (sweep["n_rows"], sweep["n_features"], sweep["distances_per_iteration"]) == (260, 3, 260 * 9)


def test_codes_by_hand(small):
    places = {"dataset": small.dataset, "codebook": "c", "result": "r"}
    shapes = Shapes([small])
    assert plan_compress(CompressConfig(**places), shapes) == {"result": "r", "n_codes": 260, "n_blocks": 2}
    assert plan_reconstruct(ReconstructConfig(**places), shapes) == {
        "result": "r",
        "n_codes": 24,
        "n_blocks": 3,
    }


def test_the_plan_is_what_ingest_then_writes(photos, dataset, tmp_path):
    """Of photos without a blank patch; `dataset` was made of them with the same options."""
    new = str(tmp_path / "d")
    config = IngestConfig(source=str(photos), dataset=new, patch="4x5", shard_mib=0.02)
    made = plan_ingest(config, Shapes([config]))
    stored = open_dataset(dataset)
    assert made["n_images"] == stored.n_images
    assert (made["n_pixels"], made["n_patches"]) == (len(stored.pixels[:]), len(stored.patches[:]))
    assert (made["pixels_bytes"], made["patches_bytes"]) == (stored.pixels.nbytes, stored.patches.nbytes)
    # What is there already is planned by what it tells of itself.
    there = plan_fit(FitConfig(dataset=dataset, codebook="c", k=10, on="patches"), Shapes([]))
    coming = plan_fit(FitConfig(dataset=new, codebook="c", k=10, on="patches"), Shapes([config]))
    assert there == coming
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_planned(small, tmp_path):
    config = FitConfig(dataset=str(tmp_path / "none"), codebook="c", k=2)
    with pytest.raises(InputError, match="nothing is there"):
        plan_fit(config, Shapes([]))
    plain = small.model_copy(update={"patch": None})
    with pytest.raises(InputError, match=r"holds no patches. Ingest with --patch"):
        plan_fit(FitConfig(dataset=small.dataset, codebook="c", k=2, on="patches"), Shapes([plain]))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="no image can be read"):
        Shapes([small.model_copy(update={"source": str(tmp_path / "bad")})])

"""The plan of a stage: computed by hand, what the stages then make and ask for, and nothing on storage."""

from __future__ import annotations

import collections
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from object_store.proxy import FaultyProxy
from PIL import Image
from plan.test_cost import RATES

from dkmeans import (
    CompressConfig,
    FitConfig,
    IngestConfig,
    InProcess,
    ReconstructConfig,
    SweepConfig,
    compress,
    fit,
    ingest,
    open_coded,
    open_dataset,
    reconstruct,
    storage_options,
    sweep,
)
from dkmeans.errors import InputError
from dkmeans.plan.cost import Iterations, Machine
from dkmeans.stages.preview import (
    plan_compress,
    plan_fit,
    plan_ingest,
    plan_reconstruct,
    plan_sweep,
)
from dkmeans.stages.shared.setting import Setting
from dkmeans.stages.shared.shapes import Shape, Shapes
from dkmeans.storage import arrays
from dkmeans.storage.store import open_store

ONE = Machine(1, 1, "threads")


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


def setting(*made, machine=ONE):
    return Setting(Shapes(made), RATES, machine)


def test_an_ingest_by_hand(small, tmp_path):
    made = plan_ingest(small, setting(small))
    n_files = sum(path.stat().st_size for path in (tmp_path / "in").iterdir())
    assert (made.stage, made.output, made.n_images) == ("ingest", small.dataset, 2)
    assert (made.n_rows, made.n_features) == (4 * 3 + 2 * 6, 60)
    assert made.bytes_in == n_files + 2 * 260 * 3  # pixels are read twice for their patches
    assert made.bytes_out == 260 * 3 + 24 * 60
    assert made.n_blocks == 3  # of 8 patches
    assert made.memory_bytes == (300 << 20) + 2 * 8 * 60 + 2 * 140 * 3
    assert (made.n_gets, made.n_puts) == (0, 0)  # none of a local folder
    mib = 1 << 20
    assert made.parts["headers"] == pytest.approx(2 * 0.001)
    # Two shards of 175 pixels: the second image straddles their border, and is decoded twice.
    decoding = max(260 * 40e-9, n_files / mib / 50) * (260 + 140) / 260
    assert made.parts["pixels"] == pytest.approx(decoding + 780 / mib / 100)
    assert made.parts["patches"] == pytest.approx(1440 * 2e-9 + 2 * 780 / mib / 200 + 1440 / mib / 100)
    # Those of the driver: 59 and 24 GET, 20 and 4 PUT.
    assert made.parts["requests"] == pytest.approx((59 + 24 + 20 + 4) * 0.001)
    assert made.seconds == sum(made.parts.values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_a_fit_by_hand(small):
    config = FitConfig(dataset=small.dataset, codebook="c", k=100, on="patches", max_iter=10)
    made = plan_fit(config, setting(small))
    assert (made.n_rows, made.n_features, made.n_clusters, made.n_blocks) == (24, 60, 100, 1)
    assert (made.bytes_in, made.bytes_out) == (24 * 60, 100 * (60 * 4 + 8))
    sums = 100 * 61 * 8
    assert made.memory_bytes == (300 << 20) + 24 * (60 + 8) + 24 * (2 * 60 + 16) + sums
    assert made.iterations == Iterations(10, 10, 10)
    step = RATES.step(60, 100)
    one = 24 * step.row_ns / 1e9 + step.block_seconds + 0.001 + 3 * 0.001
    assert made.parts["iterations"] == pytest.approx(24 * step.label_ns / 1e9 + 10 * one)
    assert made.parts["seeds"] == pytest.approx(0.1 * 60 / 25)
    assert made.parts["dask-ml"] == 3
    assert "dask-ml" not in plan_fit(config.model_copy(update={"init": "random"}), setting(small)).parts


def test_colors_are_counted_once_and_then_few(small):
    config = FitConfig(dataset=small.dataset, codebook="c", k=16)
    made = plan_fit(config, setting(small))
    read = 780 / (1 << 20) / 200
    assert made.parts["rows"] == pytest.approx(read + 260 * 20e-9 + 0.05)
    assert "dask-ml" not in made.parts


def test_a_sweep_is_the_sum_of_its_fits(small):
    shapes = setting(small)
    made = plan_sweep(SweepConfig(dataset=small.dataset, sweep="s", k="2,9,4"), shapes)
    fits = [plan_fit(FitConfig(dataset=small.dataset, codebook="s", k=k), shapes) for k in (2, 4, 9)]
    assert (made.n_clusters, made.n_rows, made.n_blocks) == (9, 260, fits[0].n_blocks)
    assert made.parts["rows"] == fits[0].parts["rows"]
    assert made.parts["iterations"] == pytest.approx(sum(each.parts["iterations"] for each in fits))
    assert made.iterations.expected == sum(each.iterations.expected for each in fits)


def test_codes_by_hand(small):
    book = FitConfig(dataset=small.dataset, codebook="c", k=300, on="patches")
    places = {"dataset": small.dataset, "codebook": "c", "result": "r"}
    made = plan_compress(CompressConfig(**places), setting(small, book))
    assert (made.n_rows, made.n_blocks, made.n_clusters) == (260, 2, 300)
    assert made.bytes_out == 260 * 2  # codes of 300 centers take two bytes
    made = plan_reconstruct(ReconstructConfig(**places, images="i"), setting(small, book))
    assert (made.n_rows, made.n_blocks) == (24, 3)
    assert made.bytes_out == 24 * 2 + 260 * 3
    assert made.bytes_in == 24 * 60 + 260 * 3 + 24 * 2
    alone = plan_reconstruct(ReconstructConfig(**places), setting(small, book))
    assert made.parts["images"] - alone.parts["images"] == pytest.approx(260 * 1500e-9 + 2 * 0.002)
    assert made.parts["requests"] - alone.parts["requests"] == pytest.approx((27 + 6) * 0.001)


@given(
    n_pixels=st.integers(100, 10**9),
    more=st.integers(0, 10**9),
    threads=st.integers(1, 16),
    on=st.sampled_from(["pixels", "patches"]),
    k=st.sampled_from([2, 256, 5000]),
)
@example(n_pixels=3_710_704, more=308_838, threads=11, on="pixels", k=2)
@example(n_pixels=699_052, more=1, threads=2, on="pixels", k=5000)
def test_more_rows_never_cost_fewer_seconds(n_pixels, more, threads, on, k):
    def plans(n):
        shapes = Shapes()
        shapes._datasets = {"/d": Shape(1, n, n, 3, 75, 1, 64.0, np.array([0, n]), {"png": (n, n)})}
        shapes._codebooks = {"/c": k}
        rates = replace(RATES, file_seconds=0)  # as files of larger images are shared by more tasks
        here = Setting(shapes, rates, Machine(1, threads, "threads"))
        places = {"dataset": "/d", "codebook": "/c", "result": "/r", "images": "/i"}
        return [
            plan_fit(FitConfig(dataset="/d", codebook="/c", k=k, on=on), here),
            plan_compress(CompressConfig(**places), here),
            plan_reconstruct(ReconstructConfig(**places), here),
            plan_ingest(IngestConfig(source="s", dataset="/d", patch=5), here),
        ]

    for few, many in zip(plans(n_pixels), plans(n_pixels + more), strict=True):
        assert many.seconds >= few.seconds * (1 - 1e-9), few.stage
        assert many.bytes_in >= few.bytes_in
        assert many.bytes_out >= few.bytes_out


def test_the_plan_is_what_ingest_then_writes(photos, dataset, tmp_path):
    """Of photos without a blank patch; `dataset` was made of them with the same options."""
    new = str(tmp_path / "d")
    config = IngestConfig(source=str(photos), dataset=new, patch="4x5", shard_mib=0.02)
    made = plan_ingest(config, setting(config))
    stored = open_dataset(dataset)
    assert (made.n_images, made.n_rows) == (stored.n_images, len(stored.patches[:]))
    assert made.bytes_out == stored.pixels.nbytes + stored.patches.nbytes
    assert made.n_blocks == len(arrays.finished_shards(stored.store, "patches"))
    # What is there already is planned by what it tells of itself.
    there = plan_fit(FitConfig(dataset=dataset, codebook="c", k=10, on="patches"), setting())
    coming = plan_fit(FitConfig(dataset=new, codebook="c", k=10, on="patches"), setting(config))
    assert there == coming
    assert not (tmp_path / "d").exists()


def test_what_cannot_be_planned(small, tmp_path):
    config = FitConfig(dataset=str(tmp_path / "none"), codebook="c", k=2)
    with pytest.raises(InputError, match="nothing is there"):
        plan_fit(config, setting())
    plain = small.model_copy(update={"patch": None})
    with pytest.raises(InputError, match=r"holds no patches. Ingest with --patch"):
        plan_fit(FitConfig(dataset=small.dataset, codebook="c", k=2, on="patches"), setting(plain))
    places = {"dataset": small.dataset, "codebook": str(tmp_path / "none"), "result": "r"}
    with pytest.raises(InputError, match="nothing is there"):
        plan_compress(CompressConfig(**places), setting(small))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    with pytest.raises(InputError, match="no image can be read"):
        Shapes([small.model_copy(update={"source": str(tmp_path / "bad")})])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:not converged")
@pytest.mark.parametrize(("n_images", "shard_mib"), [(3, 64.0), (7, 0.15)])
def test_requests_are_as_many_as_planned(s3, s3_url, n_images, shard_mib):
    """PUT as planned but for the iterations, which are put in; GET within 12 %, as reads are coalesced."""
    rng, executor = np.random.default_rng(0), InProcess(2)
    source, counts = open_store(f"{s3_url}/in"), collections.Counter()
    for number in range(n_images):
        tiles = np.kron(rng.integers(0, 200, (12, 10, 3)), np.ones((16, 16, 1)))
        pixels = (tiles + rng.integers(1, 50, tiles.shape)).astype(np.uint8)
        source.put(f"{number}.png", _png(pixels))
    places = {"dataset": f"{s3_url}/d", "result": f"{s3_url}/r", "images": f"{s3_url}/i"}
    ingesting = IngestConfig(
        source=source.url, dataset=places["dataset"], patch=5, stride=4, shard_mib=shard_mib
    )
    colors = FitConfig(dataset=places["dataset"], codebook=f"{s3_url}/c", k=16)
    patches = FitConfig(dataset=places["dataset"], codebook=f"{s3_url}/p", k=20, on="patches", max_iter=9)
    sweeping = SweepConfig(dataset=places["dataset"], sweep=f"{s3_url}/s", k="4,8", max_iter=5)
    compressing = CompressConfig(**places, codebook=colors.codebook)
    again = {**places, "result": f"{s3_url}/q", "images": None}
    reconstructing = ReconstructConfig(**again, codebook=patches.codebook)
    work = [
        (plan_ingest, ingest, ingesting),
        (plan_fit, fit, colors),
        (plan_fit, fit, patches),
        (plan_sweep, sweep, sweeping),
        (plan_compress, compress, compressing),
        (plan_reconstruct, reconstruct, reconstructing),
    ]
    here = setting(ingesting, colors, patches, machine=Machine(1, 2, "threads"))
    with FaultyProxy(s3.endpoint) as proxy, storage_options({"endpoint": proxy.endpoint}):
        proxy.plan(lambda method, *_: counts.update([method]))
        for planner, stage, config in work:
            planned = planner(config, here)
            counts.clear()
            report = stage(config, executor)
            more = 0
            if planned.iterations:
                more = int(np.sum(report.n_iter)) - planned.iterations.expected
            assert counts["PUT"] == planned.n_puts + more, planned.stage
            gets = counts["GET"] + counts["HEAD"]
            assert gets == pytest.approx(planned.n_gets + 2 * more, rel=0.12), planned.stage
    assert open_coded(places["result"]).manifest.n_codes == plan_compress(compressing, here).n_rows


def _png(pixels):
    from dkmeans.images.encode import encode_png

    return encode_png(pixels)

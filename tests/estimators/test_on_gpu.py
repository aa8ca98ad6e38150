"""Whole fits of the estimator on a GPU, a real one or the one that is emulated: the bits of the CPU."""

from __future__ import annotations

import hashlib

import dask.array as da
import numpy as np
import pytest
from clustering.fits import blobs

from dkmeans import KMeans, MiniBatchKMeans
from dkmeans.clustering import parts
from dkmeans.errors import DeviceError
from dkmeans.features import histogram

pytestmark = pytest.mark.filterwarnings("ignore:Number of distinct clusters")


def rows_of(n_rows=700, n_features=25, top=255):
    """Rows without groups, so that fits take many iterations; a third of them is there twice."""
    rng = np.random.default_rng(n_features)
    rows = np.minimum(rng.gamma(2.0, top / 6, (n_rows, n_features)), top)
    return np.concatenate([rows, rows[::3]]).astype(np.uint8 if top == 255 else np.uint16)


def told(device, rows, weights=None, **options):
    """SHA-256 of all that a fit gives, with what each iteration told."""
    history = []
    options = {"n_clusters": 20, "random_state": 3, "max_iter": 25, "n_init": 1} | options
    model = KMeans(**options, device=device, callback=lambda *step: history.append(step), n_jobs=2)
    model.fit(rows, sample_weight=weights)
    facts = (model.inertia_, model.n_iter_, history)
    found = [model.cluster_centers_, np.asarray(model.labels_), np.asarray(model.predict(rows))]
    assert model.cluster_centers_.dtype == np.float32
    facts = (*facts, model.score(rows, sample_weight=weights))
    return hashlib.sha256(b"".join(map(bytes, found)) + repr(facts).encode()).hexdigest(), model.n_iter_


def check(gpu, rows, weights=None, **options):
    found = told("gpu", rows, weights, **options)
    assert gpu["lloyd"] > found[1]
    used = dict(gpu)
    assert found == told("cpu", rows, weights, **options)
    assert used == gpu  # nothing of the second fit
    return found[1]


@pytest.mark.parametrize(
    "options",
    [
        {"relaxation": 1.0},
        {"relaxation": 1.9, "tol": 0},
        {"min_gain": 0.02, "tol": 0},
        {"n_init": 3, "init": "k-means++", "max_iter": 4},
        {"init": "k-means||-cached", "max_iter": 5},
        {"init": "random", "max_iter": 5, "n_clusters": 1},
    ],
    ids=str,
)
def test_a_fit_has_the_bits_of_the_cpu(gpu, options):
    check(gpu, rows_of(), **options)


def test_relaxation_and_gain_are_what_ends_a_fit(gpu):
    """So that the fits above go the ways that they are for."""
    rows, tol = rows_of(), {"tol": 0, "max_iter": 60}
    plain = check(gpu, rows, relaxation=1.0, **tol)
    assert check(gpu, rows, relaxation=1.9, **tol) != plain
    assert check(gpu, rows, relaxation=1.0, min_gain=0.02, **tol) < plain


def test_weights_some_of_which_are_zero(gpu):
    rows = rows_of()
    check(gpu, rows, np.random.default_rng(0).integers(0, 5, len(rows)), max_iter=8)


def test_rows_of_16_bits(gpu):
    rows = rows_of(500, 8, 65535)
    check(gpu, rows, max_iter=8)
    check(gpu, rows, np.random.default_rng(0).integers(1, 1000, len(rows)), max_iter=4)


def test_wide_rows_go_through_tensor_cores(gpu):
    check(gpu, rows_of(150, 64), max_iter=5)


def test_centers_that_lose_their_rows_move_to_the_farthest_rows(gpu):
    rows = np.repeat(blobs(12, 4).astype(np.uint8), 9, axis=0)
    first = np.concatenate([rows[:1] + np.zeros((6, 4)), rows[9:12]])
    check(gpu, rows, init=first, n_clusters=9)
    assert gpu["farthest"]


def test_colors_that_are_counted(gpu, monkeypatch):
    """As of half a million pixels: the device counts them, and its rows are colors with weights."""
    monkeypatch.setattr(histogram, "COUNTED", 500)
    rows = np.random.default_rng(0).integers(100, 116, (2000, 3), dtype=np.uint8)
    check(gpu, rows, max_iter=8)
    assert gpu["count_colors"] >= 2  # in the fit and for its labels


def test_an_array_is_one_block_whatever_the_threads(gpu):
    rows = rows_of()
    model = KMeans(20, n_init=1, random_state=0, max_iter=3, device="gpu", n_jobs=5).fit(rows)
    assert (gpu["lloyd"], model.n_iter_) == (4, 3)


def test_blocks_of_a_dask_array_have_other_sizes(gpu):
    rows = rows_of(500)
    chunks = ((1, 300, len(rows) - 301), 25)
    check(gpu, da.from_array(rows, chunks), max_iter=5)
    assert told("gpu", da.from_array(rows, chunks)) == told("cpu", rows)


def test_rows_that_do_not_stay_in_memory(gpu, monkeypatch):
    """Blocks are made anew for each step, on the device too, and know the labels of the step before."""
    monkeypatch.setattr(parts, "_stay", lambda *_: False)
    check(gpu, rows_of(), max_iter=6)
    assert gpu["adopt"]


def test_what_a_gpu_does_not_take_is_an_error(gpu):
    """Rows of floats, and integers whose weights are none or whose centers lie off the grid."""
    rows, match = rows_of(), "a GPU takes rows of uint8 and uint16, found float64"
    with pytest.raises(DeviceError, match=match):
        KMeans(3, device="gpu").fit(rows.astype(np.float32))
    with pytest.raises(DeviceError, match=match):
        KMeans(3, device="gpu").fit(rows, sample_weight=np.full(len(rows), 0.5))
    model = KMeans(3, device="gpu", n_init=1).fit(rows)
    model.cluster_centers_ = model.cluster_centers_.astype(np.float64) + 1e-9
    with pytest.raises(DeviceError, match=match):
        model.predict(rows)
    with pytest.raises(DeviceError, match=match):
        MiniBatchKMeans(3, device="gpu", random_state=0).fit(rows)


def test_auto_leaves_floats_to_the_cpu(gpu):
    rows = rows_of().astype(np.float64)
    one, other = (
        KMeans(3, device=device, random_state=0, n_init=1, max_iter=4).fit(rows) for device in ("auto", "cpu")
    )
    assert not gpu
    np.testing.assert_array_equal(one.cluster_centers_, other.cluster_centers_)

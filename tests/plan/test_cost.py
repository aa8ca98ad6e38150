"""What a job costs: computed by hand, and properties of the arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dkmeans.plan.cost import (
    Iterations,
    Machine,
    Rates,
    StagePlan,
    StepRate,
    StoreRate,
    expected_iterations,
    interpolate,
    shared_seconds,
    total_of,
)

LOCAL = StoreRate("a local folder", write_mib=100, read_mib=200, request_seconds=0.001)
RATES = Rates(
    steps=(
        StepRate(3, 16, 10, 50, 0.001, 0.1),
        StepRate(25, 100, 20, 200, 0.001, 0.1),
        StepRate(25, 1000, 60, 400, 0.01, 0.5),
    ),
    decode_ns={"jpeg": 20, "png": 40, "stack": 1},
    decode_mib={"jpeg": 20, "png": 50, "stack": 1000},
    count_ns=20,
    table_seconds=0.05,
    lookup_ns=5,
    compare_ns=10,
    indexed_ns=1000,
    full_ns=1500,
    file_seconds=0.002,
    cut_ns=2,
    join_ns=3,
    header_seconds=0.001,
    round_seconds={"threads": 0.001, "local": 0.003},
    start_seconds={"process": 1, "cluster": 2, "seeds": 3, "ingest": 0.1, "fit": 0.2},
    stores=(LOCAL,),
)


def test_a_value_between_points_lies_on_a_line_of_logarithms():
    points = [(10, 1.0), (1000, 100.0)]
    assert interpolate(points, 100) == pytest.approx(10)
    assert interpolate(points, 10_000) == pytest.approx(1000)  # the power of these points: 1
    assert interpolate(points, 10_000, beyond=0.5) == pytest.approx(100 * 10**0.5)
    assert interpolate([(10, 5.0), (100, 1.0)], 1000) == pytest.approx(1)  # never falls beyond them
    assert interpolate([(10, 5.0)], 20) == pytest.approx(10)  # one point: in proportion
    assert interpolate(points, 10) == pytest.approx(1)


def test_a_step_between_the_points_that_were_measured():
    assert RATES.step(25, 100).row_ns == pytest.approx(20)
    assert RATES.step(25, 316).row_ns == pytest.approx(20 * 3.16**0.4771, rel=1e-3)  # log10(3) = 0.4771
    assert RATES.step(25, 10_000).row_ns == pytest.approx(180)  # three times for ten times the clusters
    assert RATES.step(250, 100).row_ns == pytest.approx(200)  # wider than all: in proportion
    assert RATES.step(25, 10_000).seed_seconds == pytest.approx(0.5 * 10**1.4)


@given(
    n_features=st.sampled_from([1, 3, 8, 25, 60, 192]),
    k=st.integers(1, 20_000),
    more=st.integers(1, 20_000),
)
def test_more_clusters_never_take_fewer_seconds(n_features, k, more):
    few, many = RATES.step(25, k), RATES.step(25, k + more)
    for name in ("row_ns", "label_ns", "block_seconds", "seed_seconds"):
        assert getattr(many, name) >= getattr(few, name) * (1 - 1e-9)


@given(
    seconds=st.floats(0, 1e6), more=st.floats(0, 1e6), threads=st.integers(1, 64), task=st.floats(1e-3, 1e3)
)
def test_more_work_on_threads_never_takes_fewer_seconds(seconds, more, threads, task):
    now, then = (shared_seconds(each, threads, task) for each in (seconds, seconds + more))
    assert seconds / threads <= now <= seconds
    assert then >= now


def test_a_place_that_was_measured_is_taken_for_what_lies_in_it():
    near = replace(LOCAL, url="s3://bucket/a")
    rates = replace(RATES, stores=(LOCAL, replace(LOCAL, url="s3://bucket"), near))
    assert rates.store("s3://bucket/a/b") is near
    assert rates.store("s3://bucket/ab").url == "s3://bucket"
    assert rates.store("/tmp/x") is LOCAL


def test_iterations():
    assert expected_iterations("patches", 100, 500, 2e-5) == Iterations(40, 66, 106)
    assert expected_iterations("patches", 100, 50, 2e-5) == Iterations(40, 50, 50)
    assert expected_iterations("patches", 5, 500, 2e-5).expected == 66
    assert expected_iterations("pixels", 256, 500, 2e-5).expected == 28
    assert expected_iterations("patches", 100, 70, 0) == Iterations(1, 70, 70)  # --tol alone tells nothing
    assert expected_iterations("patches", 100, 500, 5e-5).expected < 66


def test_a_total_by_hand():
    plans = [
        StagePlan(
            "ingest", "d", n_images=3, bytes_in=10, bytes_out=20, n_gets=5, n_puts=2, parts={"a": 1, "b": 2}
        ),
        StagePlan("fit", "c", n_images=3, bytes_in=30, bytes_out=1, n_gets=7, n_puts=4, parts={"a": 3}),
    ]
    total = total_of(plans, 2.0, Machine(4, 2, "local"), price_per_hour=0.9)
    assert (total.n_images, total.bytes_in, total.bytes_out, total.n_gets, total.n_puts) == (3, 40, 21, 12, 6)
    assert total.seconds == 8
    assert total.price == pytest.approx(0.9 * 4 * 8 / 3600)
    assert total_of(plans, 2.0, Machine(4, 2, "local"), None).price is None

"""What a fit tells: lines on stdout, and calls of a function that may end it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from clustering.fits import assert_same_fit, blobs
from sklearn.base import clone

from dkmeans import KMeans
from dkmeans.clustering.lloyd import lloyd
from dkmeans.clustering.loop import State
from dkmeans.clustering.parts import load_array_rows
from dkmeans.compute.in_process import InProcess

LINE = re.compile(r"Iteration (\d+), inertia ([\d.e+]+)(?:, center shift ([\d.e+-]+), (\d+) moved)?")


def history(rows, first, **options):
    loaded = load_array_rows(rows, None, InProcess())
    return lloyd(loaded, State(first), **options).history


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_the_callback_is_told_the_history(dtype):
    rows = blobs().astype(dtype)
    told = []
    options = {"max_iter": 30, "tol": 0, "relaxation": 1.9, "min_gain": 0}
    model = KMeans(6, init=rows[:6], callback=lambda *each: told.append(each), **options).fit(rows)
    first = rows[:6].astype(np.float32 if dtype == np.uint8 else np.float64)
    steps = history(rows, first, **options)
    assert told == [(at, step.inertia, step.center_shift) for at, step in enumerate(steps)]
    assert len(told) == model.n_iter_ > 3
    assert_same_fit(model, KMeans(6, init=rows[:6], **options).fit(rows))


def test_each_start_counts_its_iterations(values):
    told = []
    options = {"init": "random", "n_init": 3, "max_iter": 2, "random_state": 0}
    KMeans(6, callback=lambda *each: told.append(each[0]), **options).fit(values)
    assert told == [0, 1] * 3


def test_what_the_callback_raises_ends_the_fit(values):
    def stop(iteration, inertia, center_shift):
        if iteration == 1:
            raise KeyboardInterrupt

    model = clone(KMeans(6, init="random", n_init=1, random_state=0, callback=stop))
    with pytest.raises(KeyboardInterrupt):
        model.fit(values)
    assert not hasattr(model, "cluster_centers_")
    expected = KMeans(6, init="random", n_init=1, random_state=0).fit(values)
    assert_same_fit(model.set_params(callback=None).fit(values), expected)


@pytest.mark.parametrize("verbose", [0, 1, 2, True])
def test_verbose(values, capsys, verbose):
    silent = KMeans(6, random_state=0).fit(values)
    assert capsys.readouterr() == ("", "")
    model = KMeans(6, random_state=0, verbose=verbose).fit(values)
    assert_same_fit(model, silent)
    out, err = capsys.readouterr()
    found = [LINE.fullmatch(line).groups() for line in out.splitlines() if line.startswith("Iteration")]
    assert err == ""
    assert len(found) == (model.n_iter_ if verbose else 0)
    if not verbose:
        assert out == ""
        return
    assert [int(number) for number, *_ in found] == list(range(model.n_iter_))
    inertias = [float(inertia) for _, inertia, *_ in found]
    assert inertias == sorted(inertias, reverse=True)
    assert inertias[-1] >= model.inertia_ * (1 - 1e-9)
    assert all((moved is not None) == (verbose == 2) for *_, moved in found)
    assert ("Initialization: reading the sample" in out) == (verbose == 2)
    assert out.count("Initialization complete") == 1
    assert f"Converged at iteration {model.n_iter_ - 1}: " in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"tol": 0, "min_gain": 0}, r"strict convergence\."),
        ({"tol": 0.05, "min_gain": 0}, r"center shift [\d.e-]+ within tolerance\."),
        ({"tol": 0, "min_gain": 0.02}, r"gain of [\d.e-]+ an iteration below min_gain\."),
    ],
    ids=["strict", "tol", "gain"],
)
def test_why_it_is_over(capsys, options, reason):
    rows = np.random.default_rng(1).normal(size=(3000, 4))
    KMeans(8, init=rows[:8], verbose=1, **options).fit(rows)
    assert re.search(rf"Converged at iteration \d+: {reason}\n$", capsys.readouterr().out)

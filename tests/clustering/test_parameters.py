"""docs/estimator.md lists the parameters of scikit-learn's estimators, and what it says of them is so."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import sklearn.cluster
from clustering.fits import blobs

import dkmeans

PAGE = Path(dkmeans.__file__).parents[1] / "docs" / "estimator.md"
NAMES = ["KMeans", "MiniBatchKMeans"]
ROW = re.compile(r"^\| `(\w+)` \| `(.+?)` \| `(.+?)` \| (.+) \|$", re.MULTILINE)


def section(name):
    """The table of an estimator, and the parameters that only dkmeans has."""
    text = re.split(r"^##+ ", PAGE.read_text(encoding="utf-8").replace(r"\|", "¦"), flags=re.MULTILINE)
    (found,) = [part for part in text if part.startswith(f"{name}\n\n| parameter")]
    rows = {row[0]: [cell.replace("¦", "|") for cell in row[1:]] for row in ROW.findall(found)}
    return rows, re.findall(r"`(\w+)`", found[found.index("Only here:") :])


def defaults(estimator):
    return {name: each.default for name, each in inspect.signature(estimator).parameters.items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_table_lists_every_parameter_and_its_default(name):
    rows, more = section(name)
    theirs, ours = (defaults(getattr(module, name)) for module in (sklearn.cluster, dkmeans))
    assert list(rows) == list(theirs), "scikit-learn has these"
    assert sorted([*rows, *more]) == sorted(ours), "dkmeans has these"
    for parameter, (of_theirs, of_ours, _) in rows.items():
        assert (of_theirs, of_ours) == (repr(theirs[parameter]), repr(ours[parameter])), parameter


ROWS = blobs()
GOOD = {
    "n_clusters": [1, 6],
    "init": ["k-means++", "random", ROWS[:8], ROWS[:8].tolist(), lambda X, k, random_state: X[:k]],
    "n_init": ["auto", 1, 3],
    "max_iter": [1, 20],
    "tol": [0, 0.0, 0.01],
    "verbose": [0, False],
    "random_state": [None, 0, np.int64(3), np.random.RandomState(0)],
    "copy_x": [True, False],
    "algorithm": ["lloyd", "elkan"],
    "batch_size": [1, 10, 5000],
    "compute_labels": [True, False],
    "max_no_improvement": [None, 0, 3],
    "init_size": [None, 8, 5000],
    "reassignment_ratio": [0, 0.0, 0.5, 1.0],
}
BAD = {
    "n_clusters": [0, 1.5, "8", None],
    "init": ["k-means", ROWS[:7], ROWS[:8, :3], None],
    "n_init": [0, 1.5, "warn", None],
    "max_iter": [0, 1.5, None],
    "tol": [-1.0, "0", None],
    "verbose": [-1, "yes"],
    "random_state": [-1, "seed", 0.5],
    "copy_x": [2, "no", None],
    "algorithm": ["auto", "full", None],
    "batch_size": [0, 2.5, None],
    "compute_labels": [2, "no", None],
    "max_no_improvement": [-1, 0.5],
    "init_size": [0, 0.5],
    "reassignment_ratio": [-0.1, None],
}
UNNAMED = ("init", "random_state")
"""Messages about these tell what was found, and not always the name."""


def cases(values):
    for name in NAMES:
        for parameter in defaults(getattr(sklearn.cluster, name)):
            for at, value in enumerate(values[parameter]):
                yield pytest.param(name, parameter, value, id=f"{name}-{parameter}-{at}")


def fit(module, name, **parameters):
    options = {"max_iter": 2, "random_state": 0, "n_init": 1, **parameters}
    return getattr(module, name)(**options).fit(ROWS)


@pytest.mark.filterwarnings(
    "ignore:Number of distinct clusters", "ignore:algorithm='elkan' doesn't make sense"
)
@pytest.mark.parametrize(("name", "parameter", "value"), list(cases(GOOD)))
def test_values_that_scikit_learn_takes_are_taken(name, parameter, value):
    for module in (sklearn.cluster, dkmeans):
        model = fit(module, name, **{parameter: value})
        assert model.cluster_centers_.shape == (model.n_clusters, 4)


@pytest.mark.parametrize(("name", "parameter", "value"), list(cases(BAD)))
def test_values_that_scikit_learn_refuses_are_refused(name, parameter, value):
    for module in (sklearn.cluster, dkmeans):
        with pytest.raises(ValueError, match="." if parameter in UNNAMED else parameter):
            fit(module, name, **{parameter: value})


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_is_taken_here_alone(name):
    rows, _ = section(name)
    assert "Generator" in rows["random_state"][2]
    fit(dkmeans, name, random_state=np.random.default_rng(0))
    with pytest.raises(ValueError, match="random_state"):
        fit(sklearn.cluster, name, random_state=np.random.default_rng(0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_what_is_without_effect_has_none(dtype):
    rows, table = ROWS.astype(dtype), section("KMeans")[0]
    silent = [name for name, cells in table.items() if "without effect" in cells[2]]
    assert silent == ["copy_x", "algorithm"]
    expected = dkmeans.KMeans(6, random_state=0).fit(rows)
    for options in ({"copy_x": False}, {"algorithm": "elkan"}):
        kept, found = rows.copy(), dkmeans.KMeans(6, random_state=0, **options).fit(rows)
        np.testing.assert_array_equal(found.cluster_centers_, expected.cluster_centers_)
        np.testing.assert_array_equal(rows, kept)


def test_the_bound_of_auto_is_the_one_that_is_told():
    from dkmeans.clustering import parameters

    assert f"at most {parameters._FEW:,}" in PAGE.read_text(encoding="utf-8").replace("\n", " ")

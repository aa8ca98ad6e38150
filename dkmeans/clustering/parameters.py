"""Checks of the parameters of the estimator, as scikit-learn words them."""

from __future__ import annotations

import warnings
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array, check_random_state

from dkmeans.clustering.blocks import check_values
from dkmeans.clustering.seeding import is_palette

__all__ = [
    "are_centers",
    "check_centers",
    "check_parameters",
    "check_places",
    "choose_n_init",
    "seed_of",
    "spawn_seeds",
]

_INITS = ("k-means||", "k-means||-cached", "k-means++", "random")
_ALGORITHMS = ("lloyd", "elkan")
_DEVICES = ("auto", "cpu", "gpu")
_MANY_STARTS = 10
"""Starts of an `init` that looks at no distances, as in scikit-learn; and of few rows."""
_FEW = 1 << 21
"""Rows times features times clusters up to which ten starts cost little: 2 ms an iteration."""


def check_parameters(model: Any) -> None:
    """Refuse parameters of a `dkmeans.KMeans` that mean nothing.

    Raises
    ------
    ValueError
        Naming the parameter, and what was expected.
    """

    check = partial(_check, model)
    check("n_clusters", _is_int(model.n_clusters, 1), "an int >= 1")
    check("n_init", _is_auto(model.n_init) or _is_int(model.n_init, 1), "an int >= 1 or 'auto'")
    check("max_iter", _is_int(model.max_iter, 1), "an int >= 1")
    check("tol", _is_real(model.tol) and 0 <= model.tol < np.inf, "a finite float >= 0")
    check("min_gain", _is_real(model.min_gain) and 0 <= model.min_gain < 1, "a float >= 0 and < 1")
    in_range = _is_real(model.relaxation) and 1 <= model.relaxation <= 1.99
    check("relaxation", in_range, "a float from 1 to 1.99")
    if isinstance(model.init, str):
        check("init", model.init in _INITS, f"an array, a callable or one of {', '.join(_INITS)}")
    check("verbose", _is_int(model.verbose, 0), "an int >= 0")
    check("callback", model.callback is None or callable(model.callback), "a callable or None")
    check("copy_x", isinstance(model.copy_x, bool | np.bool_), "a bool")
    if isinstance(model.algorithm, str) and model.algorithm == "elkan" and model.n_clusters == 1:
        warnings.warn(
            "algorithm='elkan' doesn't make sense for a single cluster. It is of no account here.",
            RuntimeWarning,
            stacklevel=3,
        )
    check("algorithm", model.algorithm in _ALGORITHMS, f"one of {', '.join(_ALGORITHMS)}")
    check_places(model)


def check_places(model: Any) -> None:
    """Refuse values of `n_jobs` and `device` that mean nothing.

    Raises
    ------
    ValueError
        Naming the parameter, and what was expected.
    """
    jobs = model.n_jobs
    expected = "an int >= 1, -1 or None"
    _check(model, "n_jobs", jobs is None or (_is_int(jobs, -1) and jobs != 0), expected)
    _check(model, "device", model.device in _DEVICES, f"one of {', '.join(_DEVICES)}")


def _check(model: Any, name: str, good: bool, expected: str) -> None:
    if not good:
        found, of = getattr(model, name), type(model).__name__
        raise ValueError(f"The {name!r} parameter of {of} must be {expected}. Got {found!r} instead.")


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == "auto"


def _is_int(value: Any, least: int) -> bool:
    return isinstance(value, Integral) and int(value) >= least


def _is_real(value: Any) -> bool:
    return isinstance(value, Real)


def check_centers(centers: Any, n_clusters: int, n_features: int) -> NDArray[np.float64]:
    """Check first centers that are given, or that a callable `init` has made.

    Raises
    ------
    ValueError
        If they are of another shape, or no numbers that can be centers.
    """
    found: NDArray[np.float64] = check_array(centers, dtype=np.float64, input_name="init")
    for size, wanted, of in zip(
        found.shape, (n_clusters, n_features), ("clusters", "features of the data"), strict=True
    ):
        if size != wanted:
            raise ValueError(
                f"The shape of the initial centers {found.shape} does not match the number of {of} {wanted}."
            )
    check_values(found, "init")
    return found


def are_centers(init: Any) -> bool:
    """Whether the parameter `init` is the first centers themselves."""
    return not (isinstance(init, str) or callable(init))


def choose_n_init(model: Any, array: Any) -> int:
    """Choose how many starts a fit has; centers that are given are one, and a warning says so if need be.

    "auto" is what it is in scikit-learn, but for the `init` that scikit-learn does not have: of rows so few
    that ten starts cost little the best of ten is taken, as one may be 30 % worse. Not of few colors, whose
    seeds are the best of several starts as they are.
    """
    given = are_centers(model.init)
    if _is_auto(model.n_init):
        if given:
            return 1
        n_rows, n_features = array.shape
        few = n_rows * n_features * model.n_clusters <= _FEW
        cheap = few and not is_palette(array.dtype, n_features, model.n_clusters)
        many = callable(model.init) or model.init == "random" or (model.init == "k-means||" and cheap)
        return _MANY_STARTS if many else 1
    if given and model.n_init != 1:
        warnings.warn(
            "Explicit initial center position passed: performing only one init in KMeans instead of "
            f"n_init={model.n_init}.",
            RuntimeWarning,
            stacklevel=3,
        )
        return 1
    return int(model.n_init)


def spawn_seeds(seed: int, n: int) -> list[int]:
    """Give the seeds of `n` starts: `seed` itself, and others spawned from it; more of them begin alike."""
    more = np.random.SeedSequence(seed).spawn(n - 1)
    return [seed, *(int(sequence.generate_state(1)[0]) for sequence in more)]


def seed_of(state: Any) -> int:
    """Give the seed that a `random_state` is: an int itself, of others the next number they draw.

    Raises
    ------
    ValueError
        If it is negative.
    """
    if isinstance(state, np.random.Generator):
        return int(state.integers(np.iinfo(np.int32).max))
    if not isinstance(state, Integral):
        return int(check_random_state(state).randint(np.iinfo(np.int32).max))
    if state < 0:
        raise ValueError(f"The 'random_state' parameter of KMeans must be >= 0. Got {state} instead.")
    return int(state)

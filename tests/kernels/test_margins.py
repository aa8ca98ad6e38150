"""Steps of docs/explained/margins.md that no other test tries: budgets of rounding, the margin of floats."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from gpu_checks import check_edge
from hypothesis import given, settings
from hypothesis import strategies as st

import dkmeans
from dkmeans.kernels import cpu, nearest_floats
from dkmeans.kernels.exact import MAX_FEATURES
from dkmeans.kernels.panels import SPAN

ROOT = Path(dkmeans.__file__).parents[1]
PAGE = (ROOT / "docs" / "explained" / "margins.md").read_text(encoding="utf-8")
U = 2.0**-24
WIDTHS = [1, 2, 3, 25, 64, 65, 784, 1 << 12, MAX_FEATURES]


@pytest.mark.parametrize("n_features", [2, 25, 64])
def test_a_winner_at_the_limit_is_found(n_features):
    """As floats and, from 32 features on, as bytes where the machine can."""
    check_edge(cpu, n_features)


@pytest.mark.parametrize("n_features", [32, 784, 1 << 14])
def test_the_margin_of_bytes_covers_its_roundings(n_features):
    """Each operation rounds by 2^-24 of the largest number that it can give; see the page."""
    top, half = 255.0, 128.0
    norm = top * top / 2 * n_features
    product, rest = top * half * n_features, half * top / 256 * n_features
    of_score = U * (norm + product + rest + (norm + product) + (norm + product + rest))
    of_distance = U * (half * half + top * top) * n_features
    of_comparison = U * (norm + product + rest)
    assert max(2 * of_score + of_distance, 2 * of_score + of_comparison) < 2.0**-20 * top * top * n_features


TENSOR = [33, 192, 512, 513, 784, 1024, 5000, 1 << 15]


def tensor_step(n_features):
    """F of the steps 2^-F of scores on tensor cores."""
    return 7 - sum(n_features > 512 << doublings for doublings in range(6))


def score_in_steps(x, pivot, center):
    """As `scores_tensor.cu`: three sums of bytes, and 32 bits of all else."""
    fixed = tensor_step(len(x))
    far = x - pivot
    low, middle, high = (int(x @ (center >> 8 * digit & 255)) for digit in range(3))
    assert max(low, middle, high) < 1 << 31
    rest = (int(x @ x) - int(far @ far)) << (fixed - 1)
    product = (high << (fixed + 1)) + (middle >> (7 - fixed)) + (low >> (15 - fixed))
    bits = (int(center @ center) >> (31 - fixed)) + rest - product & (1 << 32) - 1
    return bits - (bits >> 31 << 32)


@pytest.mark.parametrize("n_features", TENSOR)
@pytest.mark.parametrize("kind", ["any", "near", "ends"])
def test_scores_of_tensor_cores_are_within_two_steps(n_features, kind):
    rng = np.random.default_rng(n_features)
    for _ in range(100):
        x, pivot = rng.integers(0, 256, (2, n_features))
        center = rng.integers(0, (255 << 15) + 1, n_features)
        if kind == "near":
            pivot = np.clip(x + rng.integers(-2, 3, n_features), 0, 255)
            center = np.clip((x << 15) + rng.integers(-999, 999, n_features), 0, 255 << 15)
        elif kind == "ends":
            x[:], pivot[:], center[:] = rng.choice([0, 255], 3) * np.array([1, 1, 1 << 15])
            center[0] = abs(center[0] - rng.integers(0, 128))
        gap, far = (x << 15) - center, x - pivot
        true = Fraction(int(gap @ gap) - (int(far @ far) << 30), 1 << 31) * 2 ** tensor_step(n_features)
        assert -1 < score_in_steps(x, pivot, center) - true < 2


@pytest.mark.parametrize("n_features", TENSOR)
def test_the_margin_of_tensor_cores_covers_its_errors(n_features):
    """For all |x'| and distances of the best center from a tenth of a step on; b as wrong as it can be."""
    step = 2.0 ** -tensor_step(n_features)
    assert 255**2 * n_features / 2 / step + 2 < 1 << 31
    lengths = np.append(0, np.geomspace(step / 10, 255 * math.sqrt(n_features), 400))
    x, distance = lengths[:, None], lengths[None]
    largest = (x + distance) ** 2
    square = np.maximum(distance**2 - 3 * U * largest - 4 * step, 0)
    margin = 8 * (U * (x + np.sqrt(square)) ** 2 + step)
    of_comparison = U * (largest + 10 * margin)
    assert (U * largest + 3 * step + of_comparison < margin).all()
    assert (distance**2 - square + of_comparison < margin).all()


# Floats


def roundings(n_features):
    return min(n_features, SPAN) + -(-n_features // SPAN)


def score_in_spans(norm, x, factors, *, fused):
    """As `panels.score_centers` sums: the first span from the norm, each other from zero."""
    total = None
    for begin in range(0, len(x), SPAN):
        part = np.float32(norm) if begin == 0 else np.float32(0)
        for a, b in zip(x[begin : begin + SPAN], factors[begin : begin + SPAN], strict=True):
            product = np.float64(a) * np.float64(b) if fused else np.float64(a * b)
            part = np.float32(np.float64(part) + product)
        total = part if total is None else np.float32(total + part)
    return total


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 3, 17, 64, 65, 130, 300]),
    st.sampled_from(["any", "opposite", "same signs", "one large", "near", "far"]),
    st.booleans(),
    st.integers(0, 1 << 32),
)
def test_the_error_of_a_score_of_floats_is_below_its_bound(n_features, kind, fused, seed):
    """|error| <= (r + 2) u (2 |x| + |c|) |c| to first order; one part in a thousand for what is beyond."""
    rng = np.random.default_rng(seed)
    x, c = rng.uniform(-1, 1, (2, n_features))
    if kind == "opposite":
        c = -x * (1 + rng.uniform(-1e-6, 1e-6, n_features))
    elif kind == "same signs":
        x, c = np.abs(x), np.abs(c)
    elif kind == "one large":
        x[1:] *= 1e-4
        c[1:] *= 1e-4
    elif kind == "near":
        x = c + rng.normal(size=n_features) * 1e-5
    elif kind == "far":
        x *= 1e6
    norm = np.float32(c @ c)
    found = score_in_spans(norm, x.astype(np.float32), (-2 * c).astype(np.float32), fused=fused)
    xs, cs = ([Fraction(value) for value in values.tolist()] for values in (x, c))
    score = sum(b * b for b in cs) - 2 * sum(a * b for a, b in zip(xs, cs, strict=True))
    long, short = (math.sqrt(float(sum(v * v for v in values))) for values in (xs, cs))
    bound = (roundings(n_features) + 2) * U * (2 * long + short) * short
    assert abs(float(Fraction(float(found)) - score)) <= bound * 1.001


@pytest.mark.parametrize("n_features", WIDTHS)
def test_the_margin_of_floats_covers_the_errors_of_what_it_is_made_of(n_features):
    """|x| and the lowered C are rounded, too; for |x| = 1, and all |c| and distances of the best center.

    |x|^2 is one chain, wrong by (d + 2) u at most; C is 1.01 times what the nearest center can have at most.
    """
    slack = 4 * (roundings(n_features) + 2) * U
    own = np.concatenate([np.linspace(0, 3, 301), np.geomspace(1e-6, 1, 61)])[:, None]
    distance = np.concatenate([np.linspace(0, 4, 401), np.geomspace(1e-6, 1, 61)])[None]
    possible = (np.abs(1 - own) <= distance) & (distance <= 1 + own)
    chain = (n_features + 2) * U
    x = math.sqrt(1 - chain)  # as computed, at worst
    of_best = slack / 4 * (2 + own) * own
    square = np.maximum(distance**2 - of_best - chain, 0) + slack * (2 * x + own) * own
    lowered = 1.01 * np.maximum(own, x + np.sqrt(square))
    longest = 1 + distance  # the nearest is no farther than the best
    needed = slack / 4 * ((2 + own) * own + (2 + longest) * longest)
    margin = slack * (2 * x + lowered) * lowered
    assert (needed < margin)[possible].all()


def test_the_margin_is_the_one_that_is_proven():
    """The constants of the code are those of the page."""
    centers = np.random.default_rng(0).normal(size=(5, 130))
    scoring = nearest_floats._scoring(centers)
    assert scoring.slack == np.float32(4 * (roundings(130) + 2) * U)
    assert scoring.wide == np.float32(4 * (130 + 8) * 2.0**-53)


def test_tests_that_the_page_names_exist():
    named = re.findall(r"`(\w+\.py)::(\w+)`", PAGE)
    assert len(named) > 15
    for file, name in named:
        assert re.search(
            rf"^def {name}\(", (Path(__file__).parent / file).read_text("utf-8"), re.MULTILINE
        ), name

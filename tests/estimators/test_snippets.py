"""Code as people write it for scikit-learn's k-means on images runs with only the import changed.

The snippets are scripts of their own in the folder beside this file. What one leaves in `kmeans` and `result`
is compared, and the shape and kind of every array.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SNIPPETS = sorted(Path(__file__, "..", "snippets").resolve().glob("*.py"))
THEIRS, OURS = "from sklearn.cluster import ", "from dkmeans import "
WORSE, BETTER = 1.01, 0.95
"""Inertia as a part of scikit-learn's: another start ends in another optimum, which may be better."""
IN_THE_MEAN = {
    "segmentation": "a pixel may lie in another segment",
    "superpixels": "a pixel may lie in another segment",
    "color_quantization": "a pixel may get another of similar colors",
    "dominant_colors": "shares move more than the inertia",
    "digits": "the way from the same centers goes beyond the means, to another optimum",
}
"""Snippets whose results are compared in the mean, and why."""


def run(text):
    names = {}
    exec(compile(text, "a snippet", "exec"), names)
    return names


@pytest.fixture(params=SNIPPETS, ids=lambda path: path.stem)
def both(request):
    text = request.param.read_text(encoding="utf-8")
    assert text.count(THEIRS) == 1
    return request.param.stem, run(text), run(text.replace(THEIRS, OURS))


def test_only_the_import_is_changed(both):
    name, theirs, ours = both
    assert type(ours["kmeans"]).__module__.startswith("dkmeans.")
    assert type(ours["kmeans"]).__name__ == type(theirs["kmeans"]).__name__
    arrays = {key: value for key, value in theirs.items() if isinstance(value, np.ndarray)}
    for key, array in arrays.items():
        assert ours[key].shape == array.shape, key
        assert ours[key].dtype.kind == array.dtype.kind, key
    assert BETTER <= ours["kmeans"].inertia_ / theirs["kmeans"].inertia_ <= WORSE
    found, expected = ours["result"], theirs["result"]
    if name in IN_THE_MEAN:
        found, expected = found.mean(), expected.mean()
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_there_are_ten():
    assert len(SNIPPETS) >= 10
    assert set(IN_THE_MEAN) <= {path.stem for path in SNIPPETS}

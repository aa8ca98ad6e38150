"""What a notebook shows of an estimator."""

from __future__ import annotations

import base64
import io
import re

import dask.array as da
import numpy as np
import pytest
from PIL import Image

import dkmeans

ROWS = np.array([[1, 2, 3], [200, 100, 50], [200, 100, 50], [201, 100, 50]], np.uint8)


def cells(html):
    return dict(re.findall(r"<tr><th[^>]*>([^<]*)</th><td[^>]*>([^<]*)</td></tr>", html))


def test_one_that_is_not_fitted_is_as_scikit_learn_shows_it():
    shown = dkmeans.KMeans(n_clusters=2)._repr_html_()
    assert "KMeans" in shown
    assert cells(shown) == {}


def test_what_was_found_is_below_it():
    model = dkmeans.KMeans(n_clusters=2, random_state=0).fit(ROWS)
    assert repr(model) == "KMeans(n_clusters=2, random_state=0)"
    shown = model._repr_mimebundle_()["text/html"]
    assert shown.startswith(dkmeans.KMeans(n_clusters=2)._repr_html_()[:20])
    assert cells(shown) == {
        "clusters": "2",
        "features": "3",
        "inertia": "0.667",  # two rows of 200 and one of 201: 2 * (1 / 3) ** 2 + (2 / 3) ** 2
        "iterations": str(model.n_iter_),
        "rows of a cluster": "1 to 3, median 2",
    }
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        colors = {color[:3] for _, color in image.convert("RGBA").getcolors() if color[3]}
    assert colors == {(1, 2, 3), (200, 100, 50)}


@pytest.mark.parametrize(
    "rows", [ROWS.astype(float), ROWS[:, :2], da.from_array(ROWS.astype(float))], ids=str
)
def test_rows_that_are_no_colors_have_no_picture(rows):
    shown = dkmeans.KMeans(n_clusters=2, random_state=0).fit(rows)._repr_html_()
    assert cells(shown)["clusters"] == "2"
    assert ("rows of a cluster" in cells(shown)) == isinstance(rows, np.ndarray)
    assert "data:image/png" not in shown


def test_mini_batches_are_shown_too():
    model = dkmeans.MiniBatchKMeans(n_clusters=2, random_state=0).fit(ROWS)
    assert cells(model._repr_html_())["rows of a cluster"] == "1 to 3, median 2"
    assert cells(model.partial_fit(ROWS[:2])._repr_html_())["rows of a cluster"] == "1 to 1, median 1"
    alone = dkmeans.MiniBatchKMeans(n_clusters=2, random_state=0, compute_labels=False).partial_fit(ROWS)
    assert cells(alone._repr_html_()) == {"clusters": "2", "features": "3"}

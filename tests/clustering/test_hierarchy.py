"""Groups of centers against SciPy's Ward and against graphs; their means against fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, ward
from scipy.sparse.csgraph import connected_components
from sklearn.neighbors import kneighbors_graph

from dkmeans.clustering.hierarchy import group_centers, merge_groups
from dkmeans.kernels import exact


def numbered(labels):
    """Groups by the order in which they first occur."""
    seen = {}
    return [seen.setdefault(label, len(seen)) for label in np.asarray(labels).tolist()]


def random_centers(n, d, seed):
    return exact.snap(np.random.default_rng(seed).uniform(0, 255, (n, d)), np.dtype(np.uint8))


def test_the_two_nearest_pairs():
    groups = group_centers(np.array([[10], [200], [20], [210]], np.float32), 2)
    assert groups.labels.tolist() == [0, 1, 0, 1]
    assert groups.n_components == 1


@pytest.mark.parametrize("n_clusters", [1, 2, 7, 39, 40])
@pytest.mark.parametrize("d", [1, 3, 25])
def test_groups_are_those_of_scipy(n_clusters, d):
    centers = random_centers(40, d, seed=d)
    theirs = fcluster(ward(centers.astype(float)), n_clusters, criterion="maxclust")
    groups = group_centers(centers, n_clusters)
    assert groups.labels.tolist() == numbered(theirs)
    assert len(set(groups.labels.tolist())) == n_clusters


def neighbors(centers, n_neighbors):
    graph = kneighbors_graph(centers.astype(float), n_neighbors, include_self=False)
    assert connected_components(graph, directed=False)[0] == 1
    return graph


def is_linked(graph, members):
    return connected_components(graph[members][:, members], directed=False)[0] == 1


@pytest.mark.parametrize("n_neighbors", [4, 8, 39])
def test_every_group_is_linked_in_the_graph_of_neighbors(n_neighbors):
    centers = random_centers(40, 2, seed=5)
    graph = neighbors(centers, n_neighbors)
    groups = group_centers(centers, 6, n_neighbors)
    assert groups.n_components == 1
    assert groups.labels.tolist() == numbered(groups.labels)
    assert len(set(groups.labels.tolist())) == 6
    assert all(is_linked(graph, groups.labels == group) for group in range(6))


def test_the_graph_keeps_apart_what_only_lies_near():
    """A hairpin, its two arms 4 apart, its steps 1: without the graph groups reach across."""
    down = np.arange(1.0, 41)
    arms = [np.stack([np.full(40, x), down], 1) for x in (0, 4)]
    hairpin = np.concatenate([*arms, np.stack([np.arange(5.0), np.zeros(5)], 1)])
    centers = exact.snap(hairpin * 1.01, np.dtype(np.uint8))
    graph = neighbors(centers, 3)
    held, free = group_centers(centers, 6, 3).labels, group_centers(centers, 6).labels
    assert all(is_linked(graph, held == group) for group in range(6))
    assert not all(is_linked(graph, free == group) for group in range(6))


def test_a_graph_in_parts_is_counted_and_linked():
    centers = np.array([[0], [1], [3], [100], [101], [103], [200], [201], [203]], np.float32)
    groups = group_centers(centers, 2, n_neighbors=1)
    assert groups.n_components == 3
    assert groups.labels.tolist() in ([0] * 6 + [1] * 3, [0] * 3 + [1] * 6)
    assert group_centers(centers, 3, n_neighbors=1).labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_means_by_hand():
    centers = np.array([[10, 0], [20, 3], [200, 100], [210, 50]], np.float32)
    found = merge_groups(centers, np.array([1, 3, 2, 2]), np.array([0, 0, 1, 1]), np.dtype(np.uint8))
    assert found.tolist() == [[17.5, 2.25], [205, 75]]
    assert found.dtype == np.float32


def test_a_group_without_rows_gets_the_plain_mean():
    centers = np.array([[10], [20], [90]], np.float32)
    found = merge_groups(centers, np.array([0, 0, 5]), np.array([0, 0, 1]), np.dtype(np.uint8))
    assert found.tolist() == [[15], [90]]


def test_counts_beyond_int64_products():
    centers = np.array([[65535], [65534]], np.float32)
    found = merge_groups(centers, np.array([1 << 61, 1 << 61]), np.array([0, 0]), np.dtype(np.uint16))
    assert found.tolist() == [[65534.5]]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([np.uint8, np.uint16]))
def test_means_are_exact_but_for_one_rounding(data, dtype):
    bits = exact.fraction_bits(np.dtype(dtype))
    largest = int(np.iinfo(dtype).max) << bits
    n = data.draw(st.integers(1, 6))
    integers = data.draw(st.lists(st.integers(0, largest), min_size=n, max_size=n))
    counts = data.draw(st.lists(st.integers(1, 5), min_size=n, max_size=n))
    centers = (np.array(integers, np.float64) / (1 << bits)).astype(np.float32)[:, None]
    found = merge_groups(centers, np.array(counts), np.zeros(n, np.int64), np.dtype(dtype))
    mean = Fraction(sum(m * c for m, c in zip(integers, counts, strict=True)), sum(counts))
    assert exact.grid_integers(found, np.dtype(dtype))[0, 0] == round(mean)  # Python rounds half to even

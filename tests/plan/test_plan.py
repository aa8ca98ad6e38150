"""The plan is arithmetic: every row once, borders on shards, and no term of the memory forgotten."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dkmeans.plan import (
    MIB,
    ImageSpan,
    RowLayout,
    batches,
    block_rows,
    cuts,
    fit_cuts,
    fit_memory,
    image_spans,
    in_cuts,
    label_memory,
    layout_rows,
    shard_memory,
)

many = settings(max_examples=150, deadline=None, derandomize=True)
row_counts = st.one_of(st.integers(0, 50), st.integers(0, 1 << 40))
row_sizes = st.one_of(st.integers(1, 600), st.integers(1, 64 * MIB))
shard_sizes = st.one_of(st.sampled_from([0.001, 1.0, 64.0, 4096.0]), st.floats(1e-6, 4096))


@pytest.mark.parametrize(
    ("n_rows", "shard_rows", "expected"),
    [
        (0, 4, []),
        (1, 4, [(0, 1)]),
        (4, 4, [(0, 4)]),
        (5, 4, [(0, 4), (4, 5)]),
        (8, 4, [(0, 4), (4, 8)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_cuts_by_hand(n_rows, shard_rows, expected):
    assert cuts(n_rows, shard_rows) == expected


@many
@given(st.integers(0, 3000), st.integers(1, 400))
def test_cuts_cover_every_row_once_and_begin_on_shards(n_rows, shard_rows):
    ranges = cuts(n_rows, shard_rows)
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(n_rows))
    assert all(start % shard_rows == 0 and start < stop <= start + shard_rows for start, stop in ranges)
    assert all(stop % shard_rows == 0 for _, stop in ranges[:-1])


@many
@given(row_counts, row_sizes, shard_sizes)
def test_layout_is_whole_chunks_near_the_sizes_asked_for(n_rows, row_bytes, shard_mib):
    layout = layout_rows(n_rows, row_bytes, shard_mib)
    assert 1 <= layout.chunk_rows <= layout.shard_rows
    assert layout.shard_rows % layout.chunk_rows == 0
    # The shard before it was rounded up to whole chunks; so it exceeds the target by less than a chunk.
    target = max(1, min(int(shard_mib * MIB) // row_bytes, 1 << 22, n_rows))
    assert target <= layout.shard_rows < target + layout.chunk_rows
    # A chunk is about 1 MiB: within a factor of two, as far as the shard and a single row allow.
    chunk_bytes = layout.chunk_rows * row_bytes
    assert chunk_bytes <= max(1.5 * MIB + row_bytes, row_bytes)
    assert chunk_bytes >= min(MIB / 2, target * row_bytes)


@pytest.mark.parametrize(
    ("n_rows", "row_bytes", "shard_mib", "expected"),
    [
        (0, 3, 64.0, RowLayout(1, 1)),  # an empty array has a layout too
        (10, 3, 64.0, RowLayout(10, 10)),  # no larger than the array
        (1 << 30, 3, 64.0, RowLayout(349_526, 4_194_312)),  # narrow: 4 Mi rows, in 12 chunks of 1 MiB
        (1 << 30, 64, 64.0, RowLayout(1 << 14, 1 << 20)),  # 64 MiB in 64 chunks
        (1 << 30, 3 << 20, 1.0, RowLayout(1, 1)),  # a row larger than a shard
        (1 << 30, 1 << 20, 8.0, RowLayout(1, 8)),
    ],
)
def test_layout_by_hand(n_rows, row_bytes, shard_mib, expected):
    assert layout_rows(n_rows, row_bytes, shard_mib) == expected


@many
@given(row_counts, row_sizes, shard_sizes)
def test_a_block_is_whole_chunks_and_no_more_than_a_shard(n_rows, row_bytes, shard_mib):
    layout = layout_rows(n_rows, row_bytes, shard_mib)
    rows = block_rows(n_rows, layout)
    assert rows % layout.chunk_rows == 0
    assert layout.chunk_rows <= rows <= layout.shard_rows


@pytest.mark.parametrize(
    ("n_rows", "layout", "expected"),
    [
        (100, RowLayout(10, 100), 100),  # a small shard is one block
        (1 << 24, RowLayout(1 << 18, 1 << 22), 1 << 20),  # a large one is cut at 1 Mi rows
        (1 << 24, RowLayout(700_000, 2_800_000), 700_000),
        (1 << 24, RowLayout(3 << 20, 3 << 20), 3 << 20),  # a chunk is never cut
        (1 << 33, RowLayout(1 << 18, 1 << 22), 1 << 21),  # 4,096 blocks of twice the rows
        (1 << 40, RowLayout(1 << 18, 1 << 22), 1 << 22),
    ],
)
def test_block_by_hand(n_rows, layout, expected):
    assert block_rows(n_rows, layout) == expected


def spans_row_by_row(sizes, start, stop):
    """The oracle: look at each row by itself."""
    owners = [(index, row) for index, size in enumerate(sizes) for row in range(size)]
    spans = {}
    for at, (index, row) in enumerate(owners[start:stop]):
        first, _, begins = spans.get(index, (row, row, at))
        spans[index] = (first, row + 1, begins)
    return [ImageSpan(index, first, last, at) for index, (first, last, at) in spans.items()]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([0, 0, 1, 2, 3, 7]), min_size=1, max_size=12), st.data())
def test_spans_of_images_with_none_and_straddling(sizes, data):
    total = sum(sizes)
    start = data.draw(st.integers(0, total))
    stop = data.draw(st.integers(0, total))
    offset = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    assert image_spans(offset, start, stop) == spans_row_by_row(sizes, start, stop)


def test_a_straddling_image_is_in_both_ranges():
    offset = np.array([0, 3, 3, 10], np.int64)
    assert image_spans(offset, 0, 5) == [ImageSpan(0, 0, 3, 0), ImageSpan(2, 0, 2, 3)]
    assert image_spans(offset, 5, 10) == [ImageSpan(2, 2, 7, 0)]


@many
@given(st.lists(st.integers(0, 20), max_size=40), st.integers(1, 40), st.booleans())
def test_batches_cover_and_respect_the_limit(sizes, limit, as_array):
    ranges = batches(np.array(sizes, np.int64) if as_array else sizes, limit)
    assert [item for start, stop in ranges for item in range(start, stop)] == list(range(len(sizes)))
    for start, stop in ranges:
        assert sum(sizes[start:stop]) <= limit or stop == start + 1
    for (start, stop), (_, end) in pairwise(ranges):
        assert stop < end
        assert sum(sizes[start : stop + 1]) > limit  # no batch could have taken one more


@pytest.mark.parametrize("rows_of_block", [11, 13, 17])
def test_memory_of_a_fit_counts_every_term(rows_of_block):
    # Distinct primes: a dropped or a doubled factor shows.
    n_rows, n_features, itemsize, n_clusters = 13, 7, 2, 5
    held = min(n_rows, rows_of_block)
    assert fit_memory(n_rows, n_features, itemsize, n_clusters, rows_of_block) == {
        "rows": 13 * 7 * 2 + 13 * 8,
        "block": 2 * held * 7 * 2 + held * 16,
        "sums": 5 * 7 * 8 + 5 * 8,
    }


@many
@given(
    st.integers(1, 10**8),
    st.integers(1, 10**6),
    st.integers(1, 10**5),
    st.integers(1, 64),
    st.sampled_from([1, 2, 4, 8]),
)
def test_blocks_of_a_fit_share_the_rows_among_the_threads(n_rows, row_bytes, chunk_rows, n_threads, scale):
    blocks = fit_cuts(n_rows, row_bytes, RowLayout(chunk_rows, chunk_rows * 3), n_threads, scale)
    assert blocks[0][0] == 0
    assert blocks[-1][1] == n_rows
    assert all(first[1] == second[0] for first, second in pairwise(blocks))
    assert all(start % chunk_rows == 0 for start, _ in blocks)  # no chunk is read twice
    sizes = {stop - start for start, stop in blocks[:-1]}
    assert len(sizes) <= 1
    most = max(1, min(scale << 21, (scale * 128 << 20) // row_bytes))
    assert all(stop - start < most + chunk_rows for start, stop in blocks)
    if n_rows >= n_threads**2 * chunk_rows:  # rows enough that whole chunks leave no thread without
        assert len(blocks) >= n_threads


def test_positions_are_counted_from_where_their_range_starts():
    found = in_cuts(np.array([0, 3, 4, 9]), [(0, 4), (4, 9), (9, 12)])
    assert [positions.tolist() for positions in found] == [[0, 3], [0], [0]]
    assert [len(positions) for positions in in_cuts(np.array([], np.int64), [(0, 4), (4, 9)])] == [0, 0]


def test_memory_of_tasks():
    """By hand: 1,000 rows of 3 bytes twice, with 24 bytes each; 10 rows of 8 bytes and an image, twice."""
    assert label_memory(1000, 3, 1) == 1000 * (6 + 24)
    assert shard_memory(10, 8, 100) == 160 + 200

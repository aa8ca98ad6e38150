"""Make the memory that a search works in, see `records.Workspace`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dkmeans.kernels.arrange import aligned
from dkmeans.kernels.bytewise import WORD
from dkmeans.kernels.records import SLICES, CandidateList, Centers, Workspace
from dkmeans.kernels.rounded import words_per_row
from dkmeans.kernels.scoring import GROUP
from dkmeans.kernels.writer import LANES, STATES

__all__ = ["workspace"]


def _candidate_list(capacity: int, n_features: int) -> CandidateList:
    capacity += GROUP  # the last ones are filled up
    return CandidateList(
        aligned(capacity * n_features, np.float32),
        aligned(capacity, np.float32),
        np.empty(capacity, np.float32),
        np.zeros(capacity, np.int32),
    )


def _home(n_features: int) -> NDArray[np.uint8]:
    """Make the memory of a pivot as words, with ones where there are features."""
    n_words = -(-n_features // WORD)
    home = np.zeros((2 * n_words + 1) * WORD, np.uint8)
    home[n_words * WORD :][:n_features] = 1
    return home


def workspace(centers: Centers, capacity: int, n_features: int) -> Workspace:
    """Make what a search of rows of `n_features` needs, with lists of up to `capacity` candidates."""
    n_members, n_balls = centers.members.size, centers.radii.size
    in_bytes = bool(centers.planes.size)
    row = aligned(n_features, np.float32)
    row_bytes = np.empty(0, np.uint8)
    if centers.coarse.tiles.dtype == np.int32:
        row_bytes = np.zeros(words_per_row(n_features) * WORD, np.uint8)
    home = _home(n_features) if in_bytes else np.empty(0, np.uint8)
    words = aligned(LANES * WORD * -(-n_features // WORD), np.uint8)
    return Workspace(
        candidates=_candidate_list(capacity, 0 if in_bytes else n_features),
        home=home.view(np.int32),
        home_bytes=home,
        tile=words if in_bytes else aligned(LANES * n_features, np.float32),
        state=aligned(STATES * LANES, np.float32).reshape(STATES, LANES),
        found=aligned(2 * LANES, np.int32),
        pivot_bounds=aligned(n_balls, np.float32),
        pivot_squares=aligned(n_members, np.float32),
        measured=np.zeros(n_members // LANES, np.bool_),
        chosen=np.empty(n_members, np.int32),
        chosen_squares=np.empty(n_members, np.float32),
        slice_counts=np.empty(SLICES, np.int64),
        row=row,
        row_words=row_bytes.view(np.int32) if row_bytes.size else row,
        row_bytes=row_bytes,
        row_bounds=aligned(n_balls, np.float32),
        row_squares=aligned(n_members, np.float32),
    )

"""Rows of SciPy's sparse matrices and arrays, made dense block by block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans.compute.executor import Executor

__all__ = ["SparseRows"]

_SHARE_FOR_ROWS = 0.5
"""Part of the memory that dense rows may take during a fit."""


class SparseRows:
    """The rows of a sparse matrix: each block is made dense where it is worked on, and gives the same bits.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array or csr_matrix of shape (n_rows, n_features)
        Never changed.

    Attributes
    ----------
    matrix : scipy.sparse.csr_array or csr_matrix
    shape : tuple of int
    dtype : numpy dtype
    ndim : int
    """

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.shape, self.dtype, self.ndim = matrix.shape, matrix.dtype, matrix.ndim

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Make the rows `start` to `stop` dense; numbers that are given several times are added up."""
        return np.asarray(self.matrix[start:stop].toarray())

    def stay(self, cluster: Executor, itemsize: int) -> bool:
        """Whether a fit has the memory to keep all rows dense, which is faster than to make them anew."""
        memory = cluster.memory_bytes()
        return memory is None or self.shape[0] * self.shape[1] * itemsize <= _SHARE_FOR_ROWS * memory

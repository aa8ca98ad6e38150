"""8-bit gray values in few levels, all from how often each value occurs; and codes of few bits, packed.

Pure: a histogram of 256 counts stands for any number of pixels, and nothing is rounded on the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "N_GRAYS",
    "Bins",
    "bin_means",
    "center_bins",
    "code_bits",
    "pack_codes",
    "quantile_bins",
    "squared_error",
    "uniform_bins",
    "unpack_codes",
]

N_GRAYS = 256
_GRAYS = np.arange(N_GRAYS)


@dataclass(frozen=True)
class Bins:
    """The gray values cut into bins, from dark to light.

    Attributes
    ----------
    edges : ndarray of shape (n_bins + 1,), float64
        From the least value that occurs to the largest. A value on an edge belongs to the bin above it.
    labels : ndarray of shape (256,), int64
        Bin of each gray value.
    """

    edges: NDArray[np.float64]
    labels: NDArray[np.int64]

    @property
    def n_bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1


def uniform_bins(counts: NDArray[np.int64], n_bins: int) -> Bins:
    """Bins of one width.

    Parameters
    ----------
    counts : ndarray of shape (256,), int64
        How often each gray value occurs; at least two of them do.
    n_bins : int
    """
    found = np.flatnonzero(counts)
    return _between(np.linspace(found[0], found[-1], n_bins + 1))


def quantile_bins(counts: NDArray[np.int64], n_bins: int) -> Bins:
    """Bins of about as many pixels each: their edges are quantiles, values that occur.

    Where many pixels have one value several edges fall together, and there are fewer bins. Parameters are
    those of `uniform_bins`.
    """
    found = np.flatnonzero(counts)
    shares = np.linspace(0, 1, n_bins + 1)
    return _between(np.unique(np.quantile(found, shares, weights=counts[found], method="inverted_cdf")))


def _between(edges: NDArray[Any]) -> Bins:
    return Bins(edges.astype(np.float64), np.searchsorted(edges[1:-1], _GRAYS, side="right"))


def center_bins(counts: NDArray[np.int64], centers: NDArray[np.float32]) -> Bins:
    """Bins of the values nearest to each center; the edges lie in the middle between two centers.

    A value just between two centers belongs to the one with the lower index, as in the codes of compress.

    Parameters
    ----------
    counts : ndarray of shape (256,), int64
        How often each gray value occurs.
    centers : ndarray of shape (n_bins,), float32
        On the grid of `dkmeans.kernels.exact`, in any order; the bins are those from dark to light.
    """
    found, values = np.flatnonzero(counts), centers.astype(np.float64)
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    edges = np.concatenate([found[:1], (ascending[1:] + ascending[:-1]) / 2, found[-1:]])
    nearest = np.abs(_GRAYS[:, np.newaxis] - values).argmin(axis=1)  # exact: both lie on the grid
    return Bins(edges.astype(np.float64), np.argsort(order)[nearest])


def bin_means(counts: NDArray[np.int64], bins: Bins) -> NDArray[np.float64]:
    """The mean of the pixels in each bin, the middle of a bin without pixels; shape (n_bins,)."""
    totals = np.bincount(bins.labels, counts, minlength=bins.n_bins)
    sums = np.bincount(bins.labels, counts * _GRAYS, minlength=bins.n_bins)
    middles = (bins.edges[1:] + bins.edges[:-1]) / 2
    return np.where(totals > 0, sums / np.maximum(totals, 1), middles)


def squared_error(counts: NDArray[np.int64], bins: Bins, shown: NDArray[np.uint8]) -> float:
    """Mean squared error over all pixels, those of each bin shown as its value in `shown` (n_bins,)."""
    return float(np.average((_GRAYS - shown[bins.labels].astype(np.int64)) ** 2, weights=counts))


def code_bits(n_codes: int) -> int:
    """Bits that tell `n_codes` codes apart; at least one."""
    return max(1, (n_codes - 1).bit_length())


def pack_codes(codes: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Codes in `bits` bits each: their lowest bits one after the other, then the next ones.

    Parameters
    ----------
    codes : ndarray of shape (n,), unsigned integers below 2^bits
    bits : int

    Returns
    -------
    ndarray of shape (bits, ceil(n / 8)), uint8
    """
    planes = codes >> np.arange(bits, dtype=codes.dtype)[:, np.newaxis] & 1
    return np.packbits(planes.astype(bool), axis=1)


def unpack_codes(packed: NDArray[np.uint8], n_codes: int) -> NDArray[np.int64]:
    """The codes that `pack_codes` has packed; shape (n_codes,)."""
    planes = np.unpackbits(packed, axis=1, count=n_codes).astype(np.int64)
    return np.asarray((planes << np.arange(len(packed))[:, np.newaxis]).sum(axis=0))

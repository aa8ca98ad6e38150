"""Patches: cut images into overlapping windows, and put images together from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dkmeans.kernels.exact import divide_half_even, fraction_bits

__all__ = ["count_windows", "extract", "find_kept", "overlap_add", "windows"]

Size = tuple[int, int]


def count_windows(height: Any, width: Any, patch: Size, stride: Size) -> tuple[Any, Any]:
    """Count the overlapping patches of an image, or of each of an array of images: down and across."""
    return (height - patch[0]) // stride[0] + 1, (width - patch[1]) // stride[1] + 1


def windows(stack: NDArray[Any], patch: Size, stride: Size) -> NDArray[Any]:
    """View all patches of a stack of images.

    Parameters
    ----------
    stack : ndarray of shape (n, height, width, channels)
    patch, stride : (int, int)
        Rows and columns.

    Returns
    -------
    ndarray of shape (n, n_down, n_across, patch height, patch width, channels)
    """
    view = sliding_window_view(stack, patch, axis=(1, 2))[:, :: stride[0], :: stride[1]]
    return np.moveaxis(view, 3, 5)


def find_kept(stack: NDArray[Any], patch: Size, stride: Size, threshold: float) -> NDArray[np.bool_]:
    """Find the patches that are not blank: their sum exceeds `threshold` of the largest possible sum.

    Returns
    -------
    ndarray of shape (n, n_down, n_across)
    """
    # The channels are summed first: it leaves one value a pixel to the overlapping windows.
    ink = stack.sum(axis=3, dtype=np.int64)
    sums = sliding_window_view(ink, patch, axis=(1, 2))[:, :: stride[0], :: stride[1]].sum(axis=(3, 4))
    largest = int(np.iinfo(stack.dtype).max) * patch[0] * patch[1] * stack.shape[3]
    return np.asarray(sums > largest * threshold)


def extract(stack: NDArray[Any], mask: NDArray[np.bool_], patch: Size, stride: Size) -> NDArray[Any]:
    """Take the patches of a stack that `mask` chooses, image by image, row-major.

    Parameters
    ----------
    stack : ndarray of shape (n, height, width, channels)
    mask : ndarray of shape (n, n_down, n_across), bool
        As `find_kept` gives it.
    patch, stride : (int, int)

    Returns
    -------
    ndarray of shape (n_chosen, patch height * patch width * channels), type of `stack`
    """
    n_features = patch[0] * patch[1] * stack.shape[3]
    return windows(stack, patch, stride)[mask].reshape(-1, n_features)


def overlap_add(
    codes: NDArray[Any],
    mask: NDArray[np.bool_],
    integers: NDArray[np.int64],
    shape: tuple[int, int, int],
    stride: Size,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    """Put images together from codes: each pixel is the mean of the patches that cover it.

    Parameters
    ----------
    codes : ndarray of shape (n_kept,), integer
        Index of the center of each kept patch, in the order of `extract`.
    mask : ndarray of shape (n, n_down, n_across), bool
        Which patches were kept.
    integers : ndarray of shape (n_clusters, patch height, patch width, channels), int64
        Centers as grid integers (`dkmeans.kernels.exact.grid_integers`).
    shape : (int, int, int)
        Height, width and channels of an image.
    stride : (int, int)
    dtype : numpy dtype
        uint8 or uint16, that of the images.

    Returns
    -------
    ndarray of shape (n, *shape), `dtype`
        Rounded half to even; zero where no kept patch lies.
    """
    n_images, n_down, n_across = mask.shape
    patch_height, patch_width = integers.shape[1:3]
    # A patch that was not kept takes the code of one more center, of nothing but zeros.
    table = np.concatenate([integers, np.zeros((1, *integers.shape[1:]), np.int64)])
    grid = np.full(mask.shape, len(integers), np.int64)
    grid[mask] = codes
    sums = np.zeros((n_images, *shape), np.int64)
    counts = np.zeros((n_images, *shape[:2], 1), np.int64)
    for row in range(patch_height):
        down = slice(row, row + (n_down - 1) * stride[0] + 1, stride[0])
        for column in range(patch_width):
            across = slice(column, column + (n_across - 1) * stride[1] + 1, stride[1])
            sums[:, down, across] += table[:, row, column][grid]
            counts[:, down, across, 0] += mask
    divisor = np.maximum(counts, 1) << fraction_bits(dtype)
    return divide_half_even(sums, divisor).astype(dtype)

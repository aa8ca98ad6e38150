"""The Lloyd step on NVIDIA GPUs, by CuPy: the same bits as on the CPU. The only import of cupy.

The kernels lie in `layout.cu`, `state.cu`, `scores.cu` with `beyond.cu` or `scores_tensor.cu`, `lloyd.cu`,
`candidates.cu` and `rows.cu`, which make one program; `compiled` builds it for one kind of rows, `candidates`
has the centers near each pivot, `piece` the rows that lie on the device, `streams` the order of what is done
there, and `block` drives them all. `colors.cu` and `colors` count pixels.
"""

from __future__ import annotations

import cupy

from dkmeans.kernels.cuda.block import Block
from dkmeans.kernels.cuda.colors import color_labels, count_colors, list_colors, look_up

__all__ = ["Block", "color_labels", "count_colors", "device_count", "list_colors", "look_up"]


def device_count() -> int:
    """Count the GPUs that CuPy can use; raises CuPy's own error if there is no driver."""
    return int(cupy.cuda.runtime.getDeviceCount())

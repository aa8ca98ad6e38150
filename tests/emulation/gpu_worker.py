"""The emulated GPU in a process of its own: ``dask worker --preload tests/emulation/gpu_worker.py``."""

import os
import sys
from pathlib import Path

from emulation import host_cupy

FOLDER = "EMULATED_KERNELS"
"""Variable that names the folder of the kernels that are built."""


def dask_setup(_):
    """Give the worker the GPUs of CUDA_VISIBLE_DEVICES, as CUDA does."""
    cupy, cupyx = host_cupy.modules(Path(os.environ[FOLDER]))
    cupy.devices = len([number for number in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if number])
    sys.modules["cupy"], sys.modules["cupyx"] = cupy, cupyx

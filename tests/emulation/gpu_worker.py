"""The emulated GPU in a process of its own: ``dask worker --preload tests/emulation/gpu_worker.py``.

The kernels are built for one thread of the host, and their shared memory is that of the process; so where a
process has several threads, one of them launches at a time.
"""

import os
import sys
import threading
from pathlib import Path

from emulation import host_cupy

FOLDER = "EMULATED_KERNELS"
"""Variable that names the folder of the kernels that are built."""


def one_at_a_time(cupy):
    """Let threads wait for each other's kernels, as those of a device do that is busy."""
    lock = threading.Lock()

    class Module(cupy.RawModule):
        def get_function(self, name):
            launch = super().get_function(name)

            def launched(*args):
                with lock:
                    launch(*args)

            return launched

    cupy.RawModule = Module


def dask_setup(_):
    """Give the worker the GPUs of CUDA_VISIBLE_DEVICES, as CUDA does."""
    cupy, cupyx = host_cupy.modules(Path(os.environ[FOLDER]))
    one_at_a_time(cupy)
    cupy.devices = len([number for number in os.environ["CUDA_VISIBLE_DEVICES"].split(",") if number])
    sys.modules["cupy"], sys.modules["cupyx"] = cupy, cupyx

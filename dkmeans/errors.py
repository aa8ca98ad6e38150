"""Every error that dkmeans raises on purpose, and the exit code of the job that it ends.

::

    DkmeansError                    1   (a bug if it is raised as itself)
    ├── UsageError                  2   an option or a key that cannot be used
    │   ├── OutputExistsError       2   the output is complete; --overwrite or --resume is missing
    │   ├── OutputUnfinishedError   2   the output was begun and not finished; --resume is missing
    │   └── OutputTakenError        2   another run has taken over the output
    ├── InputError                  3   the data cannot be used
    │   ├── ImageError              3   one image cannot be read; ingest records it as skipped
    │   ├── DistinctRowsError       3   fewer distinct rows than clusters
    │   └── MismatchError           3   a codebook that does not fit the dataset
    ├── StorageError                4   credentials, bucket, network, a full disk
    ├── ClusterError                5   no scheduler, no workers, not enough memory
    │   └── DeviceError             5   a GPU was asked for and there is none
    └── SkippedError                6   more images were skipped than allowed

A message says what was found, what was expected, and the remedy, in one or two lines.
"""

__all__ = [
    "ClusterError",
    "DeviceError",
    "DistinctRowsError",
    "DkmeansError",
    "ImageError",
    "InputError",
    "MismatchError",
    "OutputExistsError",
    "OutputTakenError",
    "OutputUnfinishedError",
    "SkippedError",
    "StorageError",
    "UsageError",
]


class DkmeansError(Exception):
    """Base of all errors of dkmeans; `exit_code` is the status of the job that it ends."""

    exit_code = 1


class UsageError(DkmeansError):
    """An option, key or value that cannot be used."""

    exit_code = 2


class OutputExistsError(UsageError):
    """The output is already there and complete."""


class OutputUnfinishedError(UsageError):
    """The output was begun by another run and never committed."""


class OutputTakenError(UsageError):
    """Another run has taken over the output that this one was writing."""


class InputError(DkmeansError):
    """Missing, empty, unreadable or unsuitable data."""

    exit_code = 3


class ImageError(InputError):
    """One image that cannot be read; ingest records it under ``skipped/`` and goes on."""


class DistinctRowsError(InputError):
    """The data holds fewer distinct rows than the clusters asked for."""


class MismatchError(InputError):
    """A codebook and a dataset that do not belong together."""


class StorageError(DkmeansError):
    """Storage refused or failed: credentials, bucket, network, a full disk."""

    exit_code = 4


class ClusterError(DkmeansError):
    """No scheduler, no workers, or not enough memory on them."""

    exit_code = 5


class DeviceError(ClusterError):
    """A GPU was asked for on a worker that has none."""


class SkippedError(DkmeansError):
    """More images had to be skipped than ``max_skipped`` allows."""

    exit_code = 6

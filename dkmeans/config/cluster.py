"""Where the tasks of a job run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dkmeans.config.base import Model

__all__ = ["ClusterConfig"]


class ClusterConfig(Model):
    """Where the tasks run."""

    scheduler: str = "auto"
    """``threads``: in this process, on all its cores; ``local``: a local cluster; ``auto``: threads for
    less than about 50 megapixels, otherwise local; ``sync``: one task after the other; otherwise an address
    such as ``tls://host:8786``, or the path of a scheduler file."""
    tls_ca: str | None = None
    """PEM file of the authority that signed the certificates of the scheduler and the workers."""
    tls_cert: str | None = None
    """PEM file of the client's certificate; without these three options, Dask's configuration is used."""
    tls_key: str | None = None
    """PEM file of the key of that certificate."""
    insecure: bool = False
    """Connect to a scheduler on another machine without TLS."""
    connect_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds to wait for a scheduler, and at least 60 for a worker."""
    workers: int = Field(default=1, ge=1)
    """Worker processes of a local cluster."""
    threads_per_worker: int | None = Field(default=None, ge=1)
    """Tasks at a time per local worker; by default the workers share the cores."""
    memory_limit: str = "auto"
    """Memory per local worker, such as ``2GiB``; ``auto`` divides that of the machine among the workers."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """``gpu`` requires one on every worker, ``auto`` uses one where there is one; the bits are the same.
    Steps of a fit, codes and counts of colors run there; seeds, palettes of single images do not."""
    performance_report: str | None = None
    """Path of an HTML page to write, Dask's record of what each worker did and when."""

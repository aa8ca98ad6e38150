"""Where the tasks of a job run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dkmeans.config.base import Model

__all__ = ["ClusterConfig"]


class ClusterConfig(Model):
    """Where the tasks run."""

    scheduler: str = "auto"
    """``threads``: in this process, on all its cores; ``local``: workers of our own; ``auto``: threads for
    less than about 50 megapixels, else local; ``sync``: one task after the other; else an address such as
    ``tls://host:8786``, or the path of a scheduler file."""
    tls_ca: str | None = None
    """File of the authority that has signed the certificates of scheduler and workers, PEM."""
    tls_cert: str | None = None
    """File of our own certificate, PEM; without these three those of Dask's own config are used."""
    tls_key: str | None = None
    """File of the key to it, PEM."""
    insecure: bool = False
    """Connect to a scheduler on another machine without TLS."""
    connect_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """Seconds to wait for a scheduler; for a worker as many, but at least 60."""
    workers: int = Field(default=1, ge=1)
    """Worker processes of a local cluster."""
    threads_per_worker: int | None = Field(default=None, ge=1)
    """Tasks at a time per local worker; not given, the workers share the cores."""
    memory_limit: str = "auto"
    """Memory per local worker, such as ``2GiB``; ``auto`` shares the machine's among the workers."""
    device: Literal["auto", "cpu", "gpu"] = "auto"
    """``gpu`` demands one on every worker, ``auto`` takes one where there is one; the bits are the same."""
    performance_report: str | None = None
    """Path of an HTML page of what each worker did when, made by Dask."""

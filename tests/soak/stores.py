"""Where a soak reads and writes: local files, or an S3 server that can be harmed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from object_store.server import Server, object_store

from dkmeans import storage_options

__all__ = ["Store", "store_of"]


@dataclass(frozen=True)
class Store:
    """Local files, without a `server`, or one."""

    server: Server | None = None

    @property
    def endpoint(self) -> str:
        return self.server.endpoint if self.server else "http://127.0.0.1:9"  # to which no request goes

    def place(self, folder: Path) -> str:
        """A new place for the inputs and outputs of a round, of which `folder` is the local one."""
        return f"s3://{self.server.bucket}/{uuid.uuid4().hex}" if self.server else str(folder / "store")

    def access(self) -> AbstractContextManager[None]:
        """How this process reaches it, whatever the environment."""
        return storage_options(self.server.options()) if self.server else nullcontext()

    def environment(self, endpoint: str) -> dict[str, str]:
        """How other processes reach it, by way of `endpoint`."""
        return {**self.server.environment(), "AWS_ENDPOINT_URL": endpoint} if self.server else {}


@contextmanager
def store_of(kind: Literal["ceph", "moto", "local"], folder: Path) -> Iterator[Store]:
    """A store of this kind with its state in `folder`."""
    if kind == "local":
        yield Store()
        return
    with object_store(folder, kind) as server:
        yield Store(server)

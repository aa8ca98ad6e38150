"""The right to write one artefact, and what a run does by it: arrays, groups, and at last the manifest.

Arrays and groups come first; the manifest, put create-only, makes them visible. A run may lose the right to
another at any time, and finds that at its next write.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dkmeans.artefacts.dimensions import dimensions_of
from dkmeans.artefacts.manifests import (
    FORMAT_VERSION,
    ROOT,
    Manifest,
    attributes_of,
    group_metadata,
    node_checksums,
    sealed,
)
from dkmeans.artefacts.refusals import taken
from dkmeans.errors import OutputExistsError
from dkmeans.storage import arrays
from dkmeans.storage.store import Store

__all__ = ["Before", "Claim", "claim_key", "claim_numbers", "token_of"]

Before = Literal["nothing", "unfinished", "changed", "complete", "other"]
"""What a run finds at the place that it claims."""

_VERSIONED = ("dkmeans", "numpy", "numba", "zarr", "dask", "dask-ml", "scikit-learn")
_M = TypeVar("_M", bound=Manifest)


def claim_key(number: int) -> str:
    """Key of the claim with this number."""
    return f"claim/{ROOT}" if number == 1 else f"claim/{number}/{ROOT}"


def claim_numbers(keys: Sequence[str]) -> list[int]:
    """The numbers of the claims among some keys, ascending."""
    matches = (re.fullmatch(rf"claim/(?:(\d+)/)?{re.escape(ROOT)}", key) for key in keys)
    return sorted(int(match[1] or 1) for match in matches if match)


@dataclass(frozen=True)
class Claim(Generic[_M]):
    """The right to write one artefact; small, it travels with the tasks that write.

    Attributes
    ----------
    store : Store
        Where the artefact goes.
    model : type
        Of its manifest.
    recorded : dict
        The config of the stage and the digest of its input.
    run : str
        Name of this run, unlike that of any other.
    number : int
        Of the claim; a higher one takes precedence.
    url : str
        What was claimed, for messages.
    before : {"nothing", "unfinished", "changed", "complete", "other"}
        What was there and is gone on with; ``changed`` is unfinished and was begun from another input or with
        other options, or is to be added to and was left before `begun`; ``other`` was made from another
        input, and is deleted.
    base : dict or None
        See `Terms`.
    """

    store: Store
    model: type[_M]
    recorded: dict[str, Any]
    run: str
    number: int
    url: str
    before: Before = "nothing"
    base: dict[str, Any] | None = None

    def check(self) -> None:
        """See that this run still has the right, by two requests.

        The claim of another run behind ours has taken it. And ours has to be there: where nothing else was
        written, that other run may have given all claims back, and a third one may have begun anew.

        Raises
        ------
        OutputTakenError
            If another run has taken it.
        """
        own = attributes_of(self.store, claim_key(self.number)) or {}
        after = attributes_of(self.store, claim_key(self.number + 1))
        if after is not None or own.get("run") != self.run:
            raise taken(self.url, after or own)

    def withdraw(self) -> None:
        """Make a complete output, which is added to, unfinished: until the next commit nobody reads it."""
        self.check()
        self.store.delete([ROOT])

    def begun(self) -> None:
        """Note that what does not stay of an output that is added to is gone."""
        self.put(claim_key(self.number), token_of(self, clears=False))

    def put(self, key: str, data: bytes) -> None:
        """Write one object below the artefact."""
        self.check()
        self.store.put(key, data)

    def write_rows(self, name: str, start: int, rows: NDArray[Any], opened: Any = None) -> None:
        """Write whole shards of the array `name`, from row `start`; see `arrays.write_rows`."""
        self.check()
        arrays.write_rows(self.store, name, start, rows, opened)

    def create_array(self, name: str, **layout: Any) -> None:
        """Create the array `name`; see `arrays.create_array`."""
        self.check()
        arrays.create_array(self.store, name, dimensions=dimensions_of(name), **layout)

    def cut_shards(self, name: str, shard: int) -> None:
        """Delete the shards of an array from `shard` on; see `arrays.cut_shards`."""
        self.check()
        arrays.cut_shards(self.store, name, shard)

    def write_array(self, name: str, values: NDArray[Any]) -> None:
        """Create the array `name` and write it all; see `arrays.write_array`."""
        self.check()
        arrays.write_array(self.store, name, values, dimensions_of(name))

    def seal(self, name: str, tables: Sequence[NDArray[np.uint32]]) -> None:
        """Note the checksums of the chunks of the array `name`, all shards of which have been written.

        `tables` has those of one shard after the other, as the tasks that wrote them have found them.
        """
        self.check()
        arrays.seal(self.store, name, np.concatenate([np.empty(0, np.uint32), *tables]))

    def commit_group(self, name: str) -> None:
        """Mark the sub-group `name` as complete."""
        self.put(f"{name}/{ROOT}", group_metadata({}))

    def has_group(self, name: str) -> bool:
        """Whether the sub-group `name` was marked as complete."""
        return self.store.exists(f"{name}/{ROOT}")

    def discard(self, name: str) -> None:
        """Delete the array or sub-group `name`, its metadata first."""
        self.check()
        keys = [found.key for found in self.store.list(name)]
        self.store.delete(sorted(keys, key=lambda key: not key.endswith(f"{name}/{ROOT}")))

    def described(self, *, nodes: dict[str, int] | None = None, **facts: Any) -> _M:
        """The manifest that the artefact would have with `facts`, for what reads it before it is complete."""
        return self.model(
            kind=self.model.kind_name(),
            format_version=FORMAT_VERSION,
            run=self.run,
            **self.recorded,
            versions={name: importlib.metadata.version(name) for name in _VERSIONED},
            nodes=nodes or {},
            **facts,
        )

    def commit(self, **facts: Any) -> _M:
        """Publish the artefact with `facts` in its manifest; the last write of a stage.

        Raises
        ------
        OutputExistsError
            If another writer has published it first.
        OutputTakenError
            If another run has taken the right to.
        """
        manifest = self.described(nodes=node_checksums(self.store), **facts)
        self.check()
        document = sealed(manifest.model_dump(mode="json"))
        if not self.store.create(ROOT, group_metadata({"dkmeans": document})):
            raise OutputExistsError(f"{self.url}: another run has committed this output meanwhile.")
        return manifest


def token_of(held: Claim[_M], *, clears: bool) -> bytes:
    """The claim as it is stored; `clears` while what does not stay is being deleted."""
    where = {"host": socket.gethostname(), "pid": os.getpid(), "began": datetime.now(UTC).isoformat()}
    kind = held.model.kind_name()
    own = {"kind": kind, "names": list(held.model.names), "run": held.run, "clears": clears}
    token = {**own, **where, **held.recorded, **({"base": held.base} if held.base else {})}
    return group_metadata({"dkmeans": token})

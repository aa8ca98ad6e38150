"""Codes of the rows of an array on storage, a shard each task, as a map_blocks stage."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dkmeans import plan
from dkmeans.artefacts.claims import Claim
from dkmeans.clustering.labels import code_dtype, label_rows
from dkmeans.compute.executor import Executor
from dkmeans.events.reporter import Reporter
from dkmeans.storage import arrays, checksums
from dkmeans.storage.store import Store

__all__ = ["Written", "write_codes", "written"]


@dataclass(frozen=True)
class Written:
    """What is known of a shard that is written: SHA-256 of its rows, and the checksums of its chunks."""

    digest: str
    table: NDArray[np.uint32]


def written(rows: NDArray[Any], chunk_rows: int) -> NDArray[np.object_]:
    """The `Written` of some rows as a block of ``map_blocks``, shape (1,)."""
    block = np.empty(1, object)
    block[0] = Written(hashlib.sha256(rows.tobytes()).hexdigest(), checksums.of_chunks(rows, chunk_rows))
    return block


def _write_block(
    shards: NDArray[np.int64],
    store: Store,
    name: str,
    centers: NDArray[np.float32],
    claim: Claim,
    finished: frozenset[int],
    device: str,
) -> NDArray[np.object_]:
    """Label the rows of one shard, and write their codes unless they are there."""
    codes = arrays.open_array(claim.store, "codes")
    shard_rows = arrays.row_layout(codes).shard_rows
    shard = int(shards[0])
    start, stop = shard * shard_rows, min((shard + 1) * shard_rows, codes.shape[0])
    if shard in finished:
        values = arrays.read_part(codes, start, stop)
    else:
        rows = arrays.read_rows(store, name, start, stop)
        values = label_rows(rows, centers, device).astype(codes.dtype)
        claim.write_rows("codes", start, values, codes)
    return written(values, codes.chunks[0])


def write_codes(
    store: Store,
    name: str,
    centers: NDArray[np.float32],
    claim: Claim,
    cluster: Executor,
    reporter: Reporter,
) -> list[str]:
    """Write the array ``codes`` of a result: the nearest center of each row of the array `name` in `store`.

    A shard of the codes is a block of the rows; shards that are there are kept.

    Returns
    -------
    list of str
        SHA-256 of the codes of each shard.
    """
    arrays.check_whole(store, name)
    rows = arrays.open_array(store, name)
    n_rows = rows.shape[0]
    layout = arrays.row_layout(rows)
    shard_rows = plan.block_rows(n_rows, layout)
    need = plan.label_memory(min(shard_rows, n_rows), rows.shape[1], rows.dtype.itemsize)
    cluster.check_memory(need, "a block of labels", "ingest with a smaller --shard-mib")
    claim.create_array(
        "codes",
        shape=(n_rows,),
        dtype=code_dtype(len(centers)),
        chunks=(layout.chunk_rows,),
        shards=(shard_rows,),
    )
    n_shards = len(plan.cuts(n_rows, shard_rows))
    finished = frozenset(arrays.finished_shards(claim.store, "codes"))
    options = {"store": store, "name": name, "centers": centers, "claim": claim, "finished": finished}
    with reporter.stage("labels", n_shards, "blocks") as advance:
        blocks = cluster.map_shards(_write_block, n_shards, advance, device=cluster.device, **options)
    claim.seal("codes", [block[0].table for block in blocks])
    return [block[0].digest for block in blocks]

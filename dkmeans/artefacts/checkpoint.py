"""The state of a fit that is under way, as one object beside its output: written whole, read or begun again.

With the rows, the config and the seed, centers and history are all that the next iteration needs: every
random number has gone into the first centers, and the first checkpoint is made of these.
"""

from __future__ import annotations

import io
import json
from dataclasses import astuple
from typing import Any

import numpy as np

from dkmeans.artefacts.held import Claim
from dkmeans.artefacts.manifests import CHECKPOINT
from dkmeans.clustering.loop import Iteration, State
from dkmeans.storage.store import Store

__all__ = ["load", "remove", "save"]


def save(claim: Claim[Any], state: State) -> None:
    """Put the state in place of the one before.

    Raises
    ------
    OutputTakenError
        If another run has taken over the output.
    """
    file = io.BytesIO()
    about = {**claim.recorded, "converged": state.converged}
    np.savez(
        file,
        about=np.frombuffer(json.dumps(about, sort_keys=True).encode(), np.uint8),
        centers=state.centers,
        previous=np.zeros(0) if state.previous is None else state.previous,
        history=np.array([astuple(step) for step in state.history], np.float64).reshape(-1, 4),
    )
    claim.put(CHECKPOINT, file.getvalue())


def load(store: Store) -> tuple[State, dict[str, Any]] | None:
    """The last state of a fit, and the config and input digest of its run; None without one.

    Raises
    ------
    ValueError
        If what is there is damaged.
    """
    data = store.get_or_none(CHECKPOINT)
    if data is None:
        return None
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            centers, previous = file["centers"], file["previous"]
            rows = file["history"].tolist()
        history = tuple(Iteration(inertia, shift, int(moved), sec) for inertia, shift, moved, sec in rows)
        converged = about.pop("converged")
    except Exception as error:  # zipfile and NumPy raise almost anything on damaged bytes
        raise ValueError(f"{store.url}: the checkpoint is damaged: {error!r}") from error
    return State(centers, previous if previous.ndim == 2 else None, history, converged), about


def remove(store: Store) -> None:
    """Delete the checkpoint, if there is one."""
    store.delete([CHECKPOINT])

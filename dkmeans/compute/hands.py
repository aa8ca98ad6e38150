"""Rounds on the workers of a scheduler: one call for each worker, handed on in a tree.

Each worker gets a handler, called by Dask's own comms. The driver calls a few workers, these call some others
each, and so on, while their own threads are at work. What cannot be done in a round, as a value has gone, a
worker does not answer or has another dkmeans, is left to tasks; so is what raises an error, which they raise
again. A call changes nothing but what is known, so that one that was given up may go on beside others.

Neither actors, which die with their worker (dask/distributed#6249), nor ``Client.run`` in each round, which
asks all workers from one place (dask/distributed#5095), nor a plugin, which would stay with the scheduler and
keep workers out that have no dkmeans.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from distributed import futures_of
from distributed.core import send_recv
from distributed.protocol.serialize import to_serialize

from dkmeans import __version__
from dkmeans.compute import metrics, waiting
from dkmeans.compute.rounds import Left, Rounds, Work, dealt
from dkmeans.errors import ClusterError
from dkmeans.storage import access

__all__ = ["Hand", "OnWorkers"]

_OPERATION = "dkmeans_round"
_WIDTH = 8
"""Workers that one calls, and the driver: it has to put their results together."""
_LOOK_SECONDS = 2.0
"""After so long, and so long again, it is seen whether all workers are still there."""
_TRIES = 3
"""Rounds in which nothing was done, after which all is left to tasks."""
_Send = Callable[..., Awaitable[Any]]
"""Called with an address and the arguments of `Hand.answer`, which it sends there; gives what comes back."""


@dataclass(frozen=True)
class _Node:
    """The part of a tree that begins with a worker: the keys of its values by number, and whom it calls."""

    address: str
    keys: dict[int, str]
    others: tuple[_Node, ...] = ()

    def numbers(self) -> Left:
        """Give the numbers of all values of this part."""
        return [*self.keys, *_numbers(self.others)]

    def addresses(self) -> list[str]:
        """Give the addresses of all workers of this part."""
        return [self.address, *(address for other in self.others for address in other.addresses())]


def _numbers(nodes: Sequence[_Node]) -> Left:
    return [number for node in nodes for number in node.numbers()]


def _trees(where: dict[str, dict[int, str]]) -> list[_Node]:
    """Put workers, the keys of whose values are given, into as many trees as the driver calls."""
    order = sorted(where)

    def part(number: int) -> _Node:
        first = (number + 1) * _WIDTH
        below = range(first, min(len(order), first + _WIDTH))
        return _Node(order[number], where[order[number]], tuple(part(each) for each in below))

    return [part(number) for number in range(min(len(order), _WIDTH))]


async def _ask_all(
    send: _Send, nodes: Sequence[_Node], rounds: str, work: Work | None, message: Any
) -> tuple[list[Any], Left]:
    """Have workers do their parts; results, and what is left of them."""
    told = None if message is None else to_serialize(message)

    async def ask(node: _Node) -> tuple[list[Any], Left]:
        anew = None if work is None else to_serialize((node, work))
        with suppress(Exception):
            answer = await send(node.address, rounds=rounds, version=__version__, anew=anew, message=told)
            return answer["results"], answer["left"]
        return [], node.numbers()  # as of a worker that has no handler and answers nothing

    found = await asyncio.gather(*map(ask, nodes))
    return [one for results, _ in found for one in results], [one for _, left in found for one in left]


async def _send(pool: Any, address: str, **call: Any) -> Any:
    """Call a worker over a connection of a pool of Dask's, which tries for 30 s to reach one that is gone."""
    comm = await asyncio.wait_for(pool.connect(address), _LOOK_SECONDS)
    try:
        return await send_recv(comm, op=_OPERATION, **call)
    finally:
        pool.reuse(address, comm)


class Hand:
    """What answers the calls to a worker."""

    def __init__(self, worker: Any) -> None:
        self.worker = worker
        self.known: dict[str, tuple[_Node, Work]] = {}

    async def answer(self, rounds: str, version: str, anew: Any = None, message: Any = None) -> Any:
        """Do a round on the values here and below: results, and the numbers that are left.

        Without a message, forget the rounds.

        Raises
        ------
        ClusterError
            If this is another dkmeans, or the rounds are not known here.
        """
        if anew is not None and version == __version__:
            self._forget_lost()
            self.known[rounds] = anew[0], copy(anew[1])  # others get it as it came
        if rounds not in self.known:
            raise ClusterError("these rounds are not known here. Tell all of them.")
        node, work = self.known[rounds]
        below = asyncio.ensure_future(
            _ask_all(self._send, node.others, rounds, anew[1] if anew else None, message)
        )
        if message is None:
            del self.known[rounds]
        results, left = await self._own(node, work, message)
        more, lost = await below
        results += more
        merged = [work.merge(results)] if len(results) > 1 else results
        return {"results": to_serialize(merged), "left": left + lost}

    async def _send(self, address: str, **call: Any) -> Any:
        return await _send(self.worker.rpc, address, **call)

    async def _own(self, node: _Node, work: Work, message: Any) -> tuple[list[Any], Left]:
        """Do the part of this worker, in its threads."""
        if message is None:
            return [], []
        data, loop, pool = self.worker.data, asyncio.get_running_loop(), self.worker.executors["default"]
        try:
            values = {number: data[key] for number, key in node.keys.items() if key in data}
            calls = dealt(work, values, work.begin(message), self.worker.state.nthreads)
            found = await asyncio.gather(*(loop.run_in_executor(pool, call) for call in calls))
        except Exception:  # tasks raise it again, if it is more than a round that does not follow
            return [], list(node.keys)
        left = [number for number in node.keys if number not in values]
        return [one for results in found for one in results], left

    def _forget_lost(self) -> None:
        """Forget rounds whose values have gone, as the driver has that did not close them."""
        for rounds, (node, _) in list(self.known.items()):
            if not any(key in self.worker.data for key in node.keys.values()):
                del self.known[rounds]


def _lend(dask_worker: Any) -> None:
    """Give the worker that this runs on a hand, if it has none."""
    metrics.serve()
    if _OPERATION not in dask_worker.handlers:
        dask_worker.handlers[_OPERATION] = Hand(dask_worker).answer


class OnWorkers(Rounds):
    """Rounds on workers.

    Parameters
    ----------
    client : distributed.Client
    work : Work
    tasks : sequence of Delayed
        Persisted.
    patience : float or None
        Seconds to wait while there is no worker.
    """

    def __init__(self, client: Any, work: Work, tasks: Sequence[Any], patience: float | None) -> None:
        self.client = client
        self.work = work
        self.futures = [futures_of(task)[0] for task in tasks]
        self.patience = patience
        self.name = uuid.uuid4().hex  # no result depends on it
        self.trees: list[_Node] = []
        self.direct = True
        self.in_vain = 0

    def call(self, message: Callable[[bool], Any], *, small: bool = False) -> tuple[list[Any], Left]:
        """Do one round; see `Rounds.call`.

        Raises
        ------
        ClusterError
            If the scheduler is gone, or there has been no worker for long.
        """
        if self.in_vain == _TRIES:
            return [], list(range(len(self.futures)))
        anew = not self.trees
        if anew:
            self._plan()
        with waiting.translated(self.client), waiting.aside():
            results, undone = self._ask(message(anew), anew=anew)
        done = set(_numbers(self.trees)).difference(undone)
        left = [number for number in range(len(self.futures)) if number not in done]
        self.in_vain = 0 if done else self.in_vain + 1
        if left:
            self.trees = []
            access.count(retries=len(left))
        return results, left

    def close(self) -> None:
        """Have the workers forget it."""
        forget = partial(_ask_all, self._send, self.trees, self.name, None, None)
        with suppress(Exception):  # then they forget it with the values
            waiting.ask(self.client, forget)
        self.trees = []

    def _plan(self) -> None:
        """Find where the values lie, once all are there, and how to call the workers."""
        with waiting.aside(), waiting.translated(self.client):
            for _ in waiting.settled(self.futures, waiting.Watch(self.client, self.patience)):
                pass
        found = waiting.ask(self.client, lambda: self.client.who_has(self.futures))
        where: dict[str, dict[int, str]] = {}
        for number, future in enumerate(self.futures):
            for worker in sorted(found.get(future.key, ()))[:1]:
                where.setdefault(worker, {})[number] = future.key
        self.trees = _trees(where)
        lend = {"workers": list(where), "on_error": "ignore"}  # then all that lies there is left
        waiting.ask(self.client, lambda: self.client.run(_lend, **lend))
        self.direct = waiting.ask(self.client, self._reaches_all)

    async def _reaches_all(self) -> bool:
        """See whether the driver gets through to the workers that it calls, not to the scheduler alone."""

        async def reach(node: _Node) -> None:
            await asyncio.wait_for(self.client.rpc(node.address).identity(), _LOOK_SECONDS)

        found = await asyncio.gather(*map(reach, self.trees), return_exceptions=True)
        return not any(isinstance(one, BaseException) for one in found)

    async def _send(self, address: str, **call: Any) -> Any:
        if self.direct:
            return await _send(self.client.rpc, address, **call)
        return await self.client.scheduler.proxy(msg={"op": _OPERATION, **call}, worker=address)

    def _ask(self, message: Any, *, anew: bool) -> tuple[list[Any], Left]:
        """Call the workers; of those that are given up meanwhile, all that was to come by them is left."""
        work, loop = self.work if anew else None, self.client.loop.asyncio_loop
        calls = [_ask_all(self._send, [tree], self.name, work, message) for tree in self.trees]
        running = [asyncio.run_coroutine_threadsafe(call, loop) for call in calls]
        watch = waiting.Watch(self.client, self.patience)
        try:
            while not_done := [call for call in running if not call.done()]:
                if concurrent.futures.wait(not_done, timeout=_LOOK_SECONDS).done:
                    continue
                watch.look()
                there = set(waiting.workers_of(self.client))
                for tree, call in zip(self.trees, running, strict=True):
                    if not there.issuperset(tree.addresses()):
                        call.cancel()
        finally:
            for call in running:
                call.cancel()
        found = [
            ([], tree.numbers()) if call.cancelled() else call.result()
            for tree, call in zip(self.trees, running, strict=True)
        ]
        return [one for results, _ in found for one in results], [one for _, left in found for one in left]
